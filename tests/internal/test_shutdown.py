"""A role that is told to end: readiness fails first, what was begun or only taken is answered, then nobody is there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.internal.serving import HALF_A_REQUEST, OTHER_HALF, Gateway, gateway, request
from tests.running import until


def told_to_end(served: Gateway) -> None:
    served.process.send_signal(signal.SIGTERM)


def faults(served: Gateway) -> Callable[[], list[str]]:
    """What /readyz objects to."""

    def read() -> list[str]:
        status, body = served.probe()
        found: list[str] = json.loads(body)["faults"] if status else []
        assert (status == 200) == (found == [])
        return found

    return read


def test_readiness_fails_first_and_until_the_delay_is_over_everybody_is_served_for_the_last_time(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "role", SHUTDOWN_DELAY="3", WORKERS="2") as served, served.client() as kept:
        assert kept.get().headers["connection"] == "keep-alive"

        told_to_end(served)
        until(lambda: faults(served)() == ["shutting down"], "readiness fails")
        answers = [kept.get(), served.get(), served.get()]

        assert served.probe("/livez")[0] == 200
        assert [(answer.status, answer.headers["connection"]) for answer in answers] == [(404, "close")] * 3
        assert kept.is_closed()
        served.end()
        assert served.takes_nobody()
        assert served.probe("/livez")[0] == 0


def test_to_be_told_again_does_not_put_the_end_off(tmp_path: Path) -> None:
    with gateway(tmp_path / "role", SHUTDOWN_DELAY="3") as served:
        started = time.monotonic()

        def has_ended() -> bool:
            told_to_end(served)
            return served.process.poll() is not None

        until(has_ended, "it has ended", 15)
        assert time.monotonic() - started >= 3


def test_what_was_begun_is_finished_while_nobody_else_is_let_in_and_the_management_port_goes_last(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path / "role", WORKERS="2") as served, served.client() as slow:
        slow.send(HALF_A_REQUEST)
        until(lambda: served.get().status == 404, "it serves")

        told_to_end(served)
        until(served.takes_nobody, "the port is closed")
        assert faults(served)() != []
        assert served.process.poll() is None
        slow.send(OTHER_HALF)
        answer = slow.reply()

        assert (answer.status, answer.headers["connection"]) == (422, "close")
        served.end()


def test_connections_that_wait_to_be_taken_when_the_end_comes_are_answered(tmp_path: Path) -> None:
    with gateway(tmp_path / "role", WORKERS="2") as served, contextlib.ExitStack() as stack:
        for worker in served.workers():
            os.kill(worker, signal.SIGSTOP)
        waiting = [stack.enter_context(served.client()) for _ in range(20)]
        for client in waiting:
            client.send(request())
        told_to_end(served)
        until(lambda: "Handling signal: term" in served.log.read_text(), "the workers are told")
        for worker in served.workers():
            os.kill(worker, signal.SIGCONT)

        assert [client.reply().status for client in waiting] == [404] * 20
        served.end()


def test_a_request_on_an_idle_connection_that_crosses_the_end_is_answered(tmp_path: Path) -> None:
    with gateway(tmp_path / "role") as served, served.client() as kept:
        assert kept.get().status == 404
        told_to_end(served)
        until(served.takes_nobody, "the port is closed")

        answer = kept.get()

        assert (answer.status, answer.headers["connection"]) == (404, "close")
        assert kept.is_closed()
        served.end()


def test_silent_connections_do_not_hold_the_end_up(tmp_path: Path) -> None:
    with gateway(tmp_path / "role", GRACEFUL_TIMEOUT="60") as served, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.client())
            stack.enter_context(served.client()).send(b"GET / HT")
            assert stack.enter_context(served.client()).get().status == 404

        served.end()  # within the patience of a test, which is less than the 60 s


def test_who_never_finishes_is_left_after_the_graceful_timeout(tmp_path: Path) -> None:
    with gateway(tmp_path / "role", GRACEFUL_TIMEOUT="1") as served, served.client() as slow:
        slow.send(HALF_A_REQUEST)
        until(lambda: served.get().status == 404, "it serves")
        started = time.monotonic()

        served.end()

        assert time.monotonic() - started >= 1
        with pytest.raises(ConnectionError):
            slow.reply()


def test_a_gateway_starts_and_serves_what_it_can_while_nobody_else_is_there(tmp_path: Path) -> None:
    with gateway(tmp_path / "role") as served:  # AUTH_URL and IMAGES_URL of this suite lead nowhere
        assert served.probe() == (200, b'{"status": "ready", "faults": []}\n')
        assert served.get("/sign-in").status == 200
        assert served.get("/api/v1/schema").status == 200
        with served.client() as client:
            body = b'{"email": "somebody@example.org", "password": "lantern harbour 9"}'
            head = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            answer = client.reply()
        assert (answer.status, answer.json["code"]) == (503, "auth_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        served.end()
