"""The auth role is gone: the same as without its database, and tokens still verify."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.outage.conftest import LIMIT, Member, stopped, unavailable
from tests.running import Person, ask, picture, url


@pytest.fixture(scope="module", autouse=True)
def _without_auth(member: Member) -> Iterator[None]:
    with stopped("auth"):
        yield


def test_sign_in_and_registration_are_refused_in_time(member: Member) -> None:
    someone = Person.new()
    registration = {"name": someone.name, "email": someone.email, "password": someone.password}
    for _ in range(8):
        unavailable(member.log_in(), "auth")
        unavailable(ask("POST", f"{url('gateway')}/api/v1/register", json=registration), "auth")


def test_nobody_is_registered_by_half(member: Member) -> None:
    """A good image was judged, and the account could not be made: nothing of either is left."""
    someone = Person.new()
    registration = {"name": someone.name, "email": someone.email, "password": someone.password}

    unavailable(
        ask("POST", f"{url('gateway')}/api/v1/register", form=registration | {"image": ("me.png", picture())}), "auth"
    )


def test_sign_in_at_the_portal_says_what_is_the_matter(new_visitor: NewVisitor, member: Member) -> None:
    visitor = new_visitor()
    visitor.expect_status(503)
    page = visitor.open("/sign-in")
    page.get_by_label("Email", exact=True).fill(member.person.email)
    page.get_by_label("Password", exact=True).fill(member.person.password)

    started = time.monotonic()
    visitor.press("Sign in")

    expect(page.get_by_role("alert")).to_contain_text("Failed to communicate with Auth service")
    assert time.monotonic() - started < LIMIT + 0.5


def test_images_are_listed_uploaded_and_deleted_with_the_token_one_has(visitor: Visitor, member: Member) -> None:
    stored = member.upload()
    assert stored.status == 201
    assert member.person.call("GET", f"/images/{stored.json['id']}").status == 200
    page = visitor.open("/images")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your gallery")
    loaded(page.get_by_role("region", name="Images", exact=True).get_by_role("img").first)
    assert member.person.call("DELETE", f"/images/{stored.json['id']}").status == 204


def test_the_profile_is_limited_to_what_is_known(visitor: Visitor, member: Member) -> None:
    page = visitor.open("/profile")

    expect(page.get_by_role("heading", level=1)).to_have_text(member.person.name)
    expect(page.get_by_role("heading", name="This profile is limited at the moment")).to_be_visible()
    loaded(page.get_by_alt_text("Your profile image"))
    answer = member.person.call("GET", "/profile")
    assert (answer.status, answer.json["limited"]) == (200, ["account"])
    assert answer.json["image"]["id"] == member.profile_image["id"]


def test_somebody_may_sign_out_of_this_device(visitor: Visitor, member: Member) -> None:
    page = visitor.open("/profile")

    page.get_by_role("navigation", name="Main").get_by_role("button", name="Sign out").click()

    visitor.at("/")
    expect(page.get_by_role("status").first).to_contain_text("You are signed out on this device.")
    expect(page.get_by_role("link", name="Sign in").first).to_be_visible()
