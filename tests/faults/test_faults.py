"""A role that hangs, drips, resets, closes in the body, or sends something else: one clear problem each, in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.faults.conftest import (
    LIMIT,
    UPLOAD_LIMIT,
    Ask,
    Member,
    at_once,
    page_says,
    recovered,
    refused,
    register,
)
from tests.proxies import Mode, Proxy
from tests.running import Person, ask, picture, url

FAULTS: tuple[Mode, ...] = ("hang", "drip", "reset", "truncate", "rubbish", "html", "error", "cut")


@pytest.fixture(autouse=True)
def _as_ever(member: Member) -> Iterator[None]:
    """After a fault everything works again: nothing is restarted in between."""
    yield
    recovered(member)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_auth_is_needed_for_is_refused_in_time_and_the_rest_goes_on(
    fault: Mode, member: Member, proxies: Mapping[str, Proxy]
) -> None:
    person = member.person
    password = {"current_password": "not the right one 9", "new_password": "another lantern 9 harbour"}
    leaver = Person.new().register().sign_in()
    calls: dict[str, Ask] = {
        "sign-in": member.log_in,
        "registration": register,
        "registration with an image": lambda: register(picture(32, 32)),
        "refresh": lambda: ask("POST", f"{url('gateway')}/api/v1/refresh", json={"refresh_token": "A" * 43}),
        "sessions": lambda: person.call("GET", "/sessions"),
        "name": lambda: person.call("PATCH", "/profile", json={"name": "Ines Falk"}),
        "password": lambda: person.call("POST", "/password", json=password),
        "closing": lambda: leaver.call("DELETE", "/profile"),
    }
    others: dict[str, Ask] = {
        "page to sign in": lambda: member.stranger.sign_in(person, member.token),
        "page of sessions": lambda: member.browser.get("/sessions"),
        "profile": lambda: person.call("GET", "/profile"),
        "list": lambda: person.call("GET", "/images"),
        "upload": member.upload,
    }
    with proxies["auth"].faulty(fault):
        answers = at_once(calls | others)
        later = member.log_in()  # by now the circuit is open

    for name in calls:
        refused(answers[name], "auth", LIMIT * 2 if name == "registration with an image" else LIMIT)
    refused(later, "auth")
    page_says(answers["page to sign in"], "auth", 503)
    page_says(answers["page of sessions"], "auth", 503)
    assert (answers["profile"].status, answers["profile"].json["limited"]) == (200, ["account"])
    assert answers["profile"].seconds < LIMIT
    assert (answers["list"].status, answers["upload"].status) == (200, 201)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_images_is_needed_for_is_refused_in_time_and_the_rest_goes_on(
    fault: Mode, member: Member, proxies: Mapping[str, Proxy]
) -> None:
    person, image = member.person, member.image["id"]
    leaver = Person.new().register().sign_in()  # what drips is carried out, though nobody hears of it
    calls: dict[str, Ask] = {
        "list": lambda: person.call("GET", "/images"),
        "image": lambda: person.call("GET", f"/images/{image}"),
        "profile image": lambda: person.call("DELETE", "/profile/image"),
        "closing": lambda: leaver.call("DELETE", "/profile"),
    }
    uploads: dict[str, Ask] = {
        "upload": member.upload,
        "registration": lambda: register(picture(32, 32)),
    }
    others: dict[str, Ask] = {
        "gallery": lambda: member.browser.get("/images"),
        "profile": lambda: person.call("GET", "/profile"),
        "page of the profile": lambda: member.browser.get("/profile"),
        "sign-in": member.log_in,
    }
    with proxies["images"].faulty(fault):
        answers = at_once(calls | others | uploads)
        later = person.call("DELETE", f"/images/{image}")

    for name in calls:
        refused(answers[name], "images")
    refused(later, "images")
    page_says(answers["gallery"], "images", 503)
    page_says(answers["page of the profile"], "images", 200)
    assert (answers["profile"].status, answers["profile"].json["limited"]) == (200, ["image"])
    assert answers["profile"].seconds < LIMIT
    assert answers["sign-in"].status == 200
    assert answers["sign-in"].seconds < LIMIT
    refused(answers["upload"], "images", UPLOAD_LIMIT)
    assert (answers["registration"].status, answers["registration"].json["limited"]) == (201, ["image"])
    assert answers["registration"].seconds < UPLOAD_LIMIT


LIMITED = "This profile is limited at the moment"


@pytest.mark.parametrize("seconds_left", [300, 20, -1], ids=["good for pages", "about to expire", "expired"])
@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_page_whose_token_has_to_be_renewed_first_is_there_in_time(
    fault: Mode, seconds_left: int, member: Member, proxies: Mapping[str, Proxy]
) -> None:
    """Auth is asked for a new token, which it does not give, and then both are asked for the page."""
    member.late.age(seconds_left)
    with proxies["auth"].faulty(fault), proxies["images"].faulty(fault):
        answer = member.late.get("/profile")

    assert (answer.status, LIMITED in answer.body.decode()) == (200, True)
    assert answer.seconds < LIMIT


def test_a_call_to_another_person_never_gets_the_answer_that_was_on_its_way(
    member: Member, proxies: Mapping[str, Proxy]
) -> None:
    """Answers that come too late for those who asked are for nobody."""
    with proxies["images"].faulty("drip"):
        refused(member.person.call("GET", "/images"), "images")
    assert [item["id"] for item in member.person.call("GET", "/images").json["items"]]
