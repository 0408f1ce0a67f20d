"""The images role is gone: nothing is stored, what is stored is served, and everything else goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import judge
from tests.outage.conftest import Member, served, stopped, unavailable
from tests.running import Person, ask, picture, url


@pytest.fixture(scope="module", autouse=True)
def _without_images(member: Member) -> Iterator[None]:
    with stopped("images"):
        yield


def file(name: str) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": picture(64, 64)}


def test_uploads_and_lists_of_the_api_are_refused_in_time(member: Member) -> None:
    for _ in range(8):
        unavailable(member.upload(), "images")
        unavailable(member.person.call("GET", "/images"), "images")


def test_the_gallery_says_so(visitor: Visitor) -> None:
    visitor.expect_status(503)
    page = visitor.open("/images")

    expect(page.get_by_role("heading", level=1)).to_have_text("Failed to communicate with Image service")
    expect(page.get_by_text("what is stored stays stored")).to_be_visible()


def test_stored_images_load(member: Member) -> None:
    assert served(member.image)
    assert served(member.profile_image)


def test_the_profile_keeps_its_image_and_says_what_is_missing(visitor: Visitor, member: Member) -> None:
    page = visitor.open("/profile")

    expect(page.get_by_role("heading", name="This profile is limited at the moment")).to_be_visible()
    expect(page.get_by_text("Failed to communicate with Image service.")).to_be_visible()
    expect(page.get_by_role("region", name="Sign-in times")).to_be_visible()
    loaded(page.get_by_alt_text("Your profile image"))
    judge(page)
    answer = member.person.call("GET", "/profile")
    assert (answer.status, answer.json["limited"]) == (200, ["image"])
    assert answer.json["email"] == member.person.email


def test_a_registration_with_an_image_makes_the_account_and_says_that_the_image_is_missing(
    new_visitor: NewVisitor,
) -> None:
    visitor = new_visitor()
    someone = Person.new()
    page = visitor.open("/register")
    page.get_by_label("Name", exact=True).fill(someone.name)
    page.get_by_label("Email", exact=True).fill(someone.email)
    page.get_by_label("Password", exact=True).fill(someone.password)
    page.get_by_label("Profile image (optional)").set_input_files(file("me.png"))

    visitor.press("Register")

    visitor.at("/profile")
    told = page.get_by_role("status").first
    expect(told).to_contain_text(f"Welcome, {someone.name}. Your account is ready.")
    expect(told).to_contain_text("Your profile image is missing: Failed to communicate with Image service.")
    expect(told.get_by_role("link", name="Add your profile image")).to_have_attribute("href", "/profile#profile-image")
    assert someone.sign_in().access_token


def test_a_registration_at_the_api_makes_the_account_and_says_that_the_image_is_missing() -> None:
    someone = Person.new()
    fields = {"name": someone.name, "email": someone.email, "password": someone.password}

    answer = ask("POST", f"{url('gateway')}/api/v1/register", form=fields | {"image": ("me.png", picture())})

    assert answer.status == 201
    assert (answer.json["image"], answer.json["limited"]) == (None, ["image"])
    assert "Failed to communicate with Image service" in answer.json["notice"]
    assert someone.sign_in().access_token


def test_everything_that_is_not_about_images_goes_on(member: Member) -> None:
    someone = Person.new().register().sign_in()

    assert someone.call("PATCH", "/profile", json={"name": "Ines Falk"}).json["name"] == "Ines Falk"
    assert someone.call("GET", "/sessions").status == 200
    passwords = {"current_password": someone.password, "new_password": "walnut tractor velvet 12"}
    assert someone.call("POST", "/password", json=passwords).status == 204


def test_an_account_is_not_closed_by_half() -> None:
    someone = Person.new().register().sign_in()

    unavailable(someone.call("DELETE", "/profile"), "images")

    assert someone.call("GET", "/profile").json["email"] == someone.email
