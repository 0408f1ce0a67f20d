"""The state of the circuit as the metrics of a running gateway show it."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.internal import servers
from tests.internal.serving import Client, Gateway, gateway
from tests.running import until

BODY = b'{"email": "anna@example.org", "password": "lantern 9 harbour"}'
SIGN_IN = (
    b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)
WRONG_PASSWORD = servers.reply(401, b'{"code": "invalid_credentials", "detail": "No."}', "application/problem+json")


def sign_in(running: Gateway) -> int:
    with Client(running.port) as client:
        client.send(SIGN_IN)
        return client.reply().status


def state(running: Gateway) -> str:
    text = running.probe("/metrics")[1].decode()
    found = re.search(r'^seawall_client_circuit_state\{dependency="auth"\} (\S+)', text, re.MULTILINE)
    return found[1] if found else ""


def test_the_circuit_is_seen_to_open_to_try_and_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    works, probed, over = threading.Event(), threading.Event(), threading.Event()

    def auth(connection: socket.socket, request: bytes) -> None:
        if b"/sessions" not in request.split(b"\r\n")[0]:  # what the gateway asks by itself: it is there
            connection.sendall(servers.reply(404, b"{}"))
        elif works.is_set():
            connection.sendall(WRONG_PASSWORD)
        elif failures.acquire(blocking=False):
            connection.sendall(servers.reply(503, b"{}"))
        else:
            probed.set()
            over.wait(20)

    failures = threading.Semaphore(5)
    with servers.peer(auth) as peer:
        monkeypatch.setenv("AUTH_URL", peer.url)
        with gateway(tmp_path / "gateway", WORKERS="1", THREADS="8") as running, ThreadPoolExecutor(1) as threads:
            assert [sign_in(running) for _ in range(6)] == [503] * 6
            assert state(running) == "2.0"

            def tries() -> bool:
                probe = threads.submit(sign_in, running)
                return probed.wait(0.5) or (probe.result() != 503)

            until(tries, "somebody tries it")
            assert sign_in(running) == 503  # while the one who tries waits
            assert state(running) == "1.0"

            works.set()
            over.set()
            until(lambda: sign_in(running) == 401, "it is asked again")
            assert state(running) == "0.0"
