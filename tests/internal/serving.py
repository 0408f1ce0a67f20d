"""The gateway under its real server, in processes of its own, with nobody behind it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import urllib3

from ops.processes import end_now
from tests.running import PROJECT, until
from tests.support import free_port_base

HOST = "127.0.0.1"
PATIENCE = 20.0  # seconds
BODY_SIZE = 64 * 1024  # the largest of JSON
BODY_END = 50
LOGIN = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
# A request of which the end of the body is missing: 64 KB are there, and so it has a thread, which it holds until the
# patience of the role is over (10 s).
HALF_A_REQUEST = LOGIN % BODY_SIZE + b"\r\n{" + b" " * (BODY_SIZE - BODY_END - 1)
OTHER_HALF = b" " * (BODY_END - 1) + b"}"


@dataclass(frozen=True)
class Reply:
    """One answer as it came over the wire; names of header fields are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One connection to the application port."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, path: str = "/api/v1/nothing", method: str = "GET", **headers: str) -> Reply:
        """One request on this connection, and its answer."""
        self.send(request(path, method, **headers))
        return self.reply(without_body=method == "HEAD")

    def reply(self, *, without_body: bool = False) -> Reply:
        """The next answer. ConnectionError if there is none."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, rest = self._received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        size = 0 if without_body else int(headers["content-length"])
        while len(rest) < size:
            self._received = b""
            self._more()
            rest += self._received
        self._received = rest[size:]
        return Reply(int(lines[0].split()[1]), headers, rest[:size])

    def is_closed(self) -> bool:
        """Whether the server has ended the connection; waits for it to do something."""
        try:
            return self.socket.recv(1024) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self.socket.recv(64 * 1024)
        if not data:
            raise ConnectionError("closed without an answer")
        self._received += data


def request(path: str = "/api/v1/nothing", method: str = "GET", **headers: str) -> bytes:
    """The bytes of a request without a body."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode()


@dataclass
class Gateway:
    """A running gateway."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> Client:
        """A new connection."""
        return Client(self.port)

    def get(self, path: str = "/api/v1/nothing", method: str = "GET", **headers: str) -> Reply:
        """One request on a connection of its own."""
        with self.client() as client:
            return client.get(path, method, **headers)

    def probe(self, path: str = "/readyz") -> tuple[int, bytes]:
        """What the management port answers; status 0 if it does not."""
        try:
            answer = urllib3.request("GET", f"http://{HOST}:{self.port + 1000}{path}", retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            return 0, b""
        return answer.status, answer.data

    def workers(self) -> list[int]:
        """The worker processes that it has started."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log.read_text())]

    def takes_nobody(self) -> bool:
        """Whether the application port is closed."""
        try:
            self.client().close()
        except ConnectionError:
            return True
        return False

    def end(self, status: int = 0) -> None:
        """Asks it to end, if nobody has, and waits for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == status, self.log.read_text()


@contextlib.contextmanager
def gateway(folder: Path, **variables: str) -> Iterator[Gateway]:
    """A gateway that is ready, with `variables` in its environment besides those of the suite."""
    port = free_port_base()
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings.gateway",
        "BIND": f"{HOST}:{port}",
        "MANAGEMENT_BIND": f"{HOST}:{port + 1000}",
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "WORKERS": "1",
        "THREADS": "2",
        **variables,
    }
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Gateway(port, process, log)
    try:
        until(lambda: process.poll() is None and running.probe()[0] == 200, f"ready; its log: {log}", 60)
        yield running
    finally:
        if process.poll() is None:
            end_now(process)
            process.wait(PATIENCE)
