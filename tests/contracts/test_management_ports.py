"""The management ports: what they answer, that nothing else answers it, and that they never wait for a worker."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from statistics import median
from uuid import uuid4

import pytest
import urllib3
from django.conf import settings
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from internal import signing
from internal.queueing import AHEAD_LIMIT
from tests.running import ROLES, ask, management_url, port_of, state, until, url

DJANGO_ROLES = ("gateway", "auth", "images", "console")
BODY = b"x" * AHEAD_LIMIT
REST = 100  # bytes of it that come one after the other
TRIES = 9
# Seconds that a probe may take: what is promised. The median of some is held to it, because one of them can be late
# with a processor that tests of other suites are using; a port that waited for a worker would be late each time, and
# by seconds.
IN_TIME = 0.1


@pytest.mark.parametrize("role", DJANGO_ROLES)
def test_the_management_port_tells_life_readiness_and_metrics(role: str) -> None:
    life, readiness, metrics = (ask("GET", management_url(role) + path) for path in ("/livez", "/readyz", "/metrics"))

    assert (life.status, life.json["status"], life.json["role"]) == (200, "alive", role)
    assert (readiness.status, readiness.json) == (200, {"status": "ready", "faults": []})
    assert metrics.status == 200
    assert metrics.headers["Content-Type"].startswith("text/plain")
    builds = {sample.labels["role"]: sample.value for sample in samples(role) if sample.name == "seawall_build"}
    assert builds == {role: 1.0}


def test_the_management_port_of_files_tells_life_readiness_and_metrics() -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert ask("GET", management_url("files") + path).status == 200


def test_what_files_answers_is_counted() -> None:
    def missing() -> float:
        found = (sample for sample in samples("files") if sample.name == "files_requests_total")
        return sum(sample.value for sample in found if sample.labels["status"] == "404")

    before = missing()
    for _ in range(5):
        assert ask("GET", f"{url('files')}/uploads/{uuid4()}.png").status == 404

    until(lambda: missing() >= before + 5, "five more answers with status 404")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_an_application_port_has_no_management_paths(role: str, path: str) -> None:
    # The console sends everybody who is not signed in to its sign-in page, whatever they ask for.
    expected = 302 if role == "console" else 404

    answer = ask("GET", url(role) + path)

    assert answer.status == expected
    assert b"alive" not in answer.body
    assert b"# HELP" not in answer.body


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/", "/internal/v1/status", "/api/v1/schema", "/sign-in", "/uploads/"])
def test_a_management_port_has_nothing_else(role: str, path: str) -> None:
    assert ask("GET", management_url(role) + path).status == 404


# busy workers


def slow_requests() -> dict[str, tuple[str, dict[str, str], str]]:
    """For each role: a path that reads a body, the headers that let it, and a path that answers at once."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    digest = hashlib.sha256(BODY).hexdigest()

    def signed(path: str, kind: str) -> tuple[str, dict[str, str], str]:
        headers = signing.sign(settings.SERVICE_KEYS, method="POST", path=path, body_digest=digest)
        return path, {"Content-Type": kind} | headers, "/internal/v1/nothing"

    return {
        "gateway": ("/api/v1/login", {"Content-Type": "application/json"}, "/api/v1/nothing"),
        "auth": signed("/internal/v1/accounts", "application/json"),
        "images": signed("/internal/v1/validate", "application/octet-stream"),
        "console": ("/login/", form | {"Cookie": f"console-csrf={'x' * 32}"}, "/static/nothing"),
    }


class SlowClients:
    """Clients whose requests never end: the headers and so much of the body that a thread is given, then a byte now and
    then."""

    def __init__(self, role: str) -> None:
        self._port = port_of(url(role))
        path, headers, self._quick_path = slow_requests()[role]
        lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Length: {len(BODY)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._start = "\r\n".join([*lines, "", ""]).encode() + BODY[:-REST]
        self._sockets: list[socket.socket] = []
        self._quick_url = url(role) + self._quick_path
        self._over = threading.Event()
        self._dribbling = threading.Thread(target=self._dribble, daemon=True)

    def begin(self, count: int) -> None:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self._sockets.append(client)
            with suppress(OSError):  # of one that was refused
                client.sendall(self._start)
        if not self._dribbling.is_alive():
            self._dribbling.start()

    def nobody_is_served(self) -> bool:
        """Whether of several requests at once not one gets an answer."""
        with ThreadPoolExecutor(6) as threads:
            return not any(threads.map(lambda _: self.somebody_is_served(), range(6)))

    def somebody_is_served(self, seconds: float = 1.0) -> bool:
        try:
            answer = urllib3.request("GET", self._quick_url, timeout=seconds, retries=False)
        except urllib3.exceptions.TimeoutError:
            return False
        return answer.status != 503  # refused: too many wait for a thread

    def end(self) -> None:
        self._over.set()
        if self._dribbling.is_alive():
            self._dribbling.join()
        for client in self._sockets:
            client.close()

    def _dribble(self) -> None:
        while not self._over.wait(2):
            for client in self._sockets:
                with suppress(OSError):
                    client.send(b"x")


@contextmanager
def every_worker_busy(role: str) -> Iterator[SlowClients]:
    """Holds every thread of every worker of the role until the end of the block."""
    clients = SlowClients(role)
    try:
        for _ in range(6):
            clients.begin(48)
            if clients.nobody_is_served() and clients.nobody_is_served():
                break
        else:
            pytest.fail(f"{role} still serves somebody while hundreds of clients keep it waiting")
        yield clients
    finally:
        clients.end()


@pytest.mark.parametrize("role", DJANGO_ROLES)
def test_the_management_port_answers_while_every_worker_is_busy(role: str) -> None:
    with every_worker_busy(role) as clients:
        for path in ("/livez", "/readyz", "/metrics"):
            answers = [ask("GET", management_url(role) + path, seconds=5) for _ in range(TRIES)]
            assert {answer.status for answer in answers} == {200}
            seconds = median(answer.seconds for answer in answers)
            assert seconds < IN_TIME, f"{path} took {seconds:.2f} s"
        assert clients.nobody_is_served()

    until(lambda: clients.somebody_is_served(2), "the role serves again, once the slow clients are gone")


# metrics of several processes


def samples(role: str) -> Iterator[Sample]:
    text = ask("GET", management_url(role) + "/metrics").body.decode()
    return (sample for family in text_string_to_metric_families(text) for sample in family.samples)


def counted_404(role: str) -> dict[str, float]:
    """How many answers with status 404 each worker of the role has counted, read from its own file."""
    counted: dict[str, float] = {}
    for path in (state() / "run" / role / "metrics").glob("counter_worker*.db"):
        values = MmapedDict.read_all_values_from_file(str(path))
        keys = ((json.loads(key), value) for key, value, *_ in values)
        counted[path.stem] = sum(
            value
            for (_, name, labels, *_), value in keys
            if name == "django_http_responses_total_by_status_total" and labels["status"] == "404"
        )
    return counted


@pytest.mark.parametrize("role", ["gateway", "auth", "images"])
def test_a_counter_sums_what_every_worker_has_counted(role: str) -> None:
    quick = url(role) + slow_requests()[role][2]
    before = counted_404(role)

    # Requests at the same time, so that more than one worker gets some of them.
    pool = urllib3.PoolManager(num_pools=1, maxsize=12, retries=False)
    with ThreadPoolExecutor(12) as threads:
        statuses = Counter(
            threads.map(
                lambda _: pool.request("GET", quick, headers={"Connection": "close"}, timeout=10).status, range(240)
            )
        )
    assert statuses == {404: 240}

    until(lambda: sum(counted_404(role).values()) == sum(before.values()) + 240, "the workers have counted them")
    after = counted_404(role)
    served = {worker: count - before.get(worker, 0) for worker, count in after.items()}
    assert len(served) == 2
    assert all(served.values()), served
    assert sum(after.values()) == sum(
        sample.value
        for sample in samples(role)
        if sample.name == "django_http_responses_total_by_status_total" and sample.labels["status"] == "404"
    )


def test_no_metric_has_a_label_that_scraping_would_rename() -> None:
    taken = {"endpoint", "service", "pod", "namespace", "container", "job", "instance"}

    for role in DJANGO_ROLES:
        clashes = {(sample.name, label) for sample in samples(role) for label in sample.labels if label in taken}
        assert clashes == set(), role


def test_no_metric_has_a_value_for_each_address_that_was_asked_for() -> None:
    number = str(uuid4())
    for path in (f"/images/{number}", f"/{number}", f"/api/v1/images/{number}", f"/api/v1/{number}?{number}"):
        ask("GET", url("gateway") + path)
    ask(number.upper(), f"{url('gateway')}/sign-in")

    assert [sample for sample in samples("gateway") if number in str(sample.labels).lower()] == []


def _calls(operation: str) -> Callable[[], dict[str, float]]:
    def read() -> dict[str, float]:
        return {
            sample.labels["outcome"]: sample.value
            for sample in samples("gateway")
            if sample.name == "seawall_client_calls_total" and sample.labels["operation"] == operation
        }

    return read


def test_every_outcome_of_a_call_to_another_role_is_counted() -> None:
    read = _calls("sign_in")
    before = read().get("rejected", 0)
    credentials = {"email": "nobody@example.org", "password": "walnut tractor velvet"}

    assert ask("POST", f"{url('gateway')}/api/v1/login", json=credentials).status == 401

    until(lambda: read().get("rejected", 0) == before + 1, "one more rejected sign-in")
