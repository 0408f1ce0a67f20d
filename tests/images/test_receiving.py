"""Bodies as they come over a real connection, to the role as gunicorn runs it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.images.conftest import BODY_TYPE, Person, access_token
from tests.images.pictures import corners, photo, saved
from tests.images.roles import Role, answer, running_role

pytestmark = pytest.mark.django_db(transaction=True)

PNG = saved(corners(), "PNG")


@pytest.fixture
def role(tmp_path: Path, transactional_db: None) -> Iterator[Role]:
    with running_role(tmp_path) as running:
        yield running


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
