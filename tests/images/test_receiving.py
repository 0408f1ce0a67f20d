"""Bodies as they come over a real connection, to the role as gunicorn runs it."""

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
from uuid import uuid4

import pytest
from django.conf import settings as django_settings

from tests.images.conftest import BODY_TYPE, KEY, Person, access_token
from tests.images.pictures import corners, photo, saved

pytestmark = pytest.mark.django_db(transaction=True)

PROJECT = Path(__file__).resolve().parents[2]
PNG = saved(corners(), "PNG")
START_SECONDS = 30


@dataclass
class Role:
    """The images role, running."""

    port: int
    root: Path

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

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


@pytest.fixture
def role(tmp_path: Path, transactional_db: None) -> Iterator[Role]:
    """The images role under gunicorn, on the test database and a store of its own."""
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
        "WORKERS": "1",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
        "IMAGE_ROOT": str(tmp_path / "served"),
        "JWKS_CACHE_FILE": str(tmp_path / "jwks.json"),
        "AUTH_URL": "http://127.0.0.1:1",
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    running = Role(port, tmp_path / "served")
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(running):
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


def answers(role: Role) -> bool:
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


def test_bodies_over_a_real_connection(role: Role, person: Person) -> None:
    """One role for all of these: starting it is most of the time that they take."""
    an_image_goes_through(role, person)
    a_body_without_a_length_is_refused(role, person)
    a_body_that_ends_early_is_refused(role, person)
    whoever_sends_too_much_still_sees_the_answer(role, person)
    whoever_may_not_send_still_sees_the_answer(role)
    a_connection_goes_on_after_a_refused_upload(role, person)
    assert not list((role.root / "incoming").iterdir())


def an_image_goes_through(role: Role, person: Person) -> None:
    data = saved(photo(1600, 1200), "PNG")
    connection = role.begin(person, str(len(data)))
    connection.send(data)
    status, image = answer(connection)

    assert status == 201
    stored = (role.root / image["path"].removeprefix("/")).read_bytes()
    assert len(stored) == image["size_bytes"]
    with contextlib.closing(role.connection()) as served:
        served.request("GET", image["path"])
        response = served.getresponse()
        assert response.read() == stored
        assert response.headers["Content-Type"] == "image/png"


def a_body_without_a_length_is_refused(role: Role, person: Person) -> None:
    status, problem = answer(role.begin(person, None))
    assert (status, problem["code"]) == (411, "length_required")

    chunked = role.connection()
    headers = {"Authorization": f"Bearer {access_token(person.id)}", "Content-Type": BODY_TYPE}
    chunked.request("POST", "/internal/v1/images", body=iter([PNG]), headers=headers, encode_chunked=True)
    status, problem = answer(chunked)
    assert (status, problem["code"]) == (411, "length_required")


def a_body_that_ends_early_is_refused(role: Role, person: Person) -> None:
    connection = role.begin(person, str(len(PNG)))
    connection.send(PNG[:-10])
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_WR)

    status, problem = answer(connection)
    assert (status, problem["code"]) == (400, "malformed_request")


def whoever_sends_too_much_still_sees_the_answer(role: Role, person: Person) -> None:
    size = 24 * 1024 * 1024
    connection = role.begin(person, str(size))
    for _ in range(size // (1024 * 1024)):
        connection.send(bytes(1024 * 1024))

    status, problem = answer(connection)
    assert (status, problem["code"]) == (413, "image_too_large")
    assert [error["field"] for error in problem["errors"]] == ["image"]


def whoever_may_not_send_still_sees_the_answer(role: Role) -> None:
    size = 8 * 1024 * 1024
    connection = role.connection()
    connection.request("POST", "/internal/v1/images", body=bytes(size), headers={"Content-Type": BODY_TYPE})

    status, problem = answer(connection)
    assert (status, problem["code"]) == (401, "unauthenticated")


def a_connection_goes_on_after_a_refused_upload(role: Role, person: Person) -> None:
    connection = role.begin(person, str(11 * 1024 * 1024))
    connection.send(bytes(11 * 1024 * 1024))
    refused = connection.getresponse()
    refused.read()
    connection.request("GET", f"/internal/v1/images/{uuid4()}")

    status, problem = answer(connection)
    assert (refused.status, status, problem["code"]) == (413, 401, "unauthenticated")
