"""Kept answers of the gateway: nothing that it shows is older than a second, wherever the change was made."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from internal import tokens
from internal.clients import AuthClient, ImagesClient
from tests.running import Answer, Person, ask, environment_of, management_url, picture, until, url

SECOND = 1.0


@pytest.fixture
def person() -> Person:
    return Person.new().register(picture(32, 32)).sign_in()


def kept(path: str, person: Person) -> None:
    """Asks until the answer comes without anybody being asked for it."""

    def given() -> float:
        text = ask("GET", f"{management_url('gateway')}/metrics").body.decode()
        found = re.search(r'^gateway_kept_answers_total\{outcome="given"\} (\S+)', text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def is_given_again() -> bool:
        before = given()
        for _ in range(8):  # some for each worker
            assert person.call("GET", path).status == 200
        return given() > before

    until(is_given_again, f"an answer of {path} is given again")


def shown_in_time(
    ask_for_it: Callable[[], Answer], change: Callable[[], object], shows: Callable[[Answer], bool]
) -> None:
    """Makes the change: whatever is asked for a second later, or after the change has been seen once, shows it."""
    assert not shows(ask_for_it())
    change()
    changed_at = time.monotonic()
    while True:
        asked_at = time.monotonic()
        if shows(ask_for_it()):
            break
        assert asked_at < changed_at + SECOND, "what was before is shown for longer than a second"
    while (asked_at := time.monotonic()) < changed_at + 2 * SECOND:
        assert shows(ask_for_it()) or asked_at < changed_at + SECOND  # several processes: each hears of it


def test_an_answer_is_given_again(person: Person) -> None:
    kept("/profile", person)
    kept("/images", person)


def test_a_name_that_is_changed_at_auth(person: Person, auth: AuthClient) -> None:
    kept("/profile", person)

    shown_in_time(
        lambda: person.call("GET", "/profile"),
        lambda: auth.update_account(person.access_token, name="Ada King"),
        lambda answer: answer.json["name"] == "Ada King",
    )


def test_a_name_that_is_changed_in_the_database(person: Person) -> None:
    kept("/profile", person)

    def by_hand() -> None:
        with psycopg.connect(environment_of("console")["AUTH_DATABASE_URL"]) as connection:
            table = "credentials_account"
            connection.execute(f"UPDATE {table} SET name = 'By hand' WHERE id = %s", [person.id])  # noqa: S608

    shown_in_time(
        lambda: person.call("GET", "/profile"), by_hand, lambda answer: bool(answer.json["name"] == "By hand")
    )


def test_a_session_that_is_ended_elsewhere(person: Person, auth: AuthClient) -> None:
    kept("/profile", person)
    elsewhere = Person(person.name, person.email, person.password).sign_in()

    shown_in_time(
        lambda: person.call("GET", "/profile"),
        lambda: auth.end_session(elsewhere.access_token, tokens.verify(person.access_token).session),
        lambda answer: answer.status == 401,
    )


def test_a_sign_out_at_auth(person: Person, auth: AuthClient) -> None:
    kept("/profile", person)

    shown_in_time(
        lambda: person.call("GET", "/profile"),
        lambda: auth.sign_out(refresh_token=person.refresh_token),
        lambda answer: answer.status == 401,
    )


def test_an_image_that_is_stored_and_one_that_is_deleted_at_images(person: Person, images: ImagesClient) -> None:
    kept("/images", person)
    kept("/profile", person)
    stored: list[Any] = []

    def store() -> None:
        content = picture(40, 40)
        stored.append(images.upload(person.access_token, io.BytesIO(content), len(content), as_profile_image=True))

    shown_in_time(lambda: person.call("GET", "/images"), store, lambda answer: answer.json["total"] == 2)
    kept("/images", person)
    kept("/profile", person)
    shown_in_time(
        lambda: person.call("GET", "/profile"),
        lambda: images.delete(person.access_token, stored[0].id),
        lambda answer: answer.json["image"] is None,
    )


def test_what_a_person_changes_at_the_gateway_is_there_at_once(person: Person) -> None:
    for number in range(8):
        kept("/profile", person)
        assert person.call("PATCH", "/profile", json={"name": f"Name {number}"}).status == 200
        for _ in range(4):
            assert person.call("GET", "/profile").json["name"] == f"Name {number}"


def test_who_signs_out_or_closes_the_account_is_out_at_once(person: Person) -> None:
    other = Person.new().register().sign_in()
    kept("/profile", person)
    kept("/profile", other)

    answer = ask("POST", f"{url('gateway')}/api/v1/logout", json={"refresh_token": person.refresh_token})
    assert answer.status == 204
    assert [person.call("GET", "/profile").status for _ in range(8)] == [401] * 8
    assert other.call("DELETE", "/profile").status == 204
    assert [other.call("GET", "/profile").status for _ in range(8)] == [401] * 8


def test_who_wants_no_copy_gets_none(person: Person, auth: AuthClient) -> None:
    for number in range(8):
        kept("/profile", person)
        auth.update_account(person.access_token, name=f"Name {number}")
        answer = person.call("GET", "/profile", headers={"Cache-Control": "no-cache"})
        assert answer.json["name"] == f"Name {number}"
