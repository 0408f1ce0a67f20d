"""The images role as gunicorn runs it, on the test database and a store of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from tests.images.conftest import BODY_TYPE, KEY, Person, access_token

PROJECT = Path(__file__).resolve().parents[2]
START_SECONDS = 30


@dataclass
class Role:
    """The images role, running."""

    port: int
    root: Path
    pid: int

    def connection(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def begin(
        self, person: Person, length: str | None, *, path: str = "/internal/v1/images"
    ) -> http.client.HTTPConnection:
        """A connection on which the headers of an upload were sent, and nothing of its body."""
        connection = self.connection()
        connection.putrequest("POST", "/internal/v1/images")
        connection.putheader("Authorization", f"Bearer {access_token(person.id)}")
        connection.putheader("Content-Type", BODY_TYPE)
        if length is not None:
            connection.putheader("Content-Length", length)
        connection.endheaders()
        return connection


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def running_role(tmp_path: Path, *, workers: int = 1) -> Iterator[Role]:
    """The images role under gunicorn, ready. What it keeps is below `tmp_path`."""
    database = django_settings.DATABASES["default"]
    port, management_port = free_ports(2)
    (tmp_path / "served").mkdir()
    (tmp_path / "metrics").mkdir()
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "config.settings.images",
        "DATABASE_URL": "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**database),
        "BIND": f"127.0.0.1:{port}",
        "MANAGEMENT_BIND": f"127.0.0.1:{management_port}",
        "WORKERS": str(workers),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
        "IMAGE_ROOT": str(tmp_path / "served"),
        "JWKS_CACHE_FILE": str(tmp_path / "jwks.json"),
        "AUTH_URL": "http://127.0.0.1:1",
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    running = Role(port, tmp_path / "served", process.pid)
    try:
        until = time.monotonic() + START_SECONDS
        while not _answers(running):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail((tmp_path / "log").read_text())
            time.sleep(0.05)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(25)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(role: Role) -> bool:
    connection = role.connection()
    try:
        connection.request("GET", "/internal/v1/status")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def answer(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    with contextlib.closing(connection):
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
