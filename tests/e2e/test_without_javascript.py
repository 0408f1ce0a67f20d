"""The whole portal once more, in a browser that runs no script."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e.browsing import Visitor, expect_fault_beside, loaded
from tests.e2e.conftest import NewVisitor
from tests.running import Person, picture

NEW_PASSWORD = "walnut tractor velvet 12"


@pytest.fixture
def visitor(new_visitor: NewVisitor) -> Visitor:
    return new_visitor(java_script_enabled=False)


def file(name: str, content: bytes | None = None) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": picture(800, 600) if content is None else content}


def test_the_whole_journey_needs_no_script(visitor: Visitor) -> None:
    person = Person.new()
    page = visitor.open("/")
    expect(page.get_by_text("Choose images")).to_have_count(0)

    # register, with an image
    page.get_by_role("link", name="Create your account").click()
    page.get_by_label("Name", exact=True).fill(person.name)
    page.get_by_label("Email", exact=True).fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)
    page.get_by_label("Profile image (optional)").set_input_files(file("me.png"))
    visitor.press("Register")
    visitor.at("/images")
    expect(page.get_by_role("status").first).to_contain_text(f"Welcome, {person.name}.")
    expect(page.get_by_text("1 image", exact=True)).to_be_visible()

    # upload several
    expect(page.get_by_text("10 at a time")).to_be_visible()
    expect(page.get_by_text("Drop them here")).to_be_hidden()
    page.get_by_label("Choose images").set_input_files([file("a.png"), file("b.png"), file("c.png")])
    visitor.press("Upload")
    expect(page.get_by_role("status").first).to_contain_text("3 images are stored.")
    expect(page.get_by_text("4 images", exact=True)).to_be_visible()
    tiles = page.get_by_role("region", name="Images", exact=True).get_by_role("listitem")
    expect(tiles).to_have_count(4)
    for tile in tiles.all():
        loaded(tile.get_by_role("img"))

    # open one large, make it the profile image
    tiles.first.get_by_role("link").click()
    loaded(page.get_by_role("figure").get_by_role("img"))
    visitor.press("Set as profile image")
    expect(page.get_by_role("status").first).to_contain_text("This is your profile image now.")
    chosen = page.url.rpartition("/")[2]

    # the profile shows it; a new name
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Profile").click()
    avatar = page.get_by_alt_text("Your profile image")
    loaded(avatar)
    assert chosen in str(avatar.get_attribute("src"))
    page.get_by_label("Name", exact=True).fill("Anna Sandström")
    visitor.press("Save changes")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anna Sandström")

    # delete it, after a question on a page of its own
    visitor.open(f"/images/{chosen}")
    page.get_by_role("link", name="Delete", exact=True).click()
    visitor.at(f"/images/{chosen}/delete")
    loaded(page.get_by_role("main").get_by_role("img"))
    page.get_by_role("link", name="Keep it").click()
    visitor.at(f"/images/{chosen}")
    page.get_by_role("link", name="Delete", exact=True).click()
    visitor.press("Delete image")
    expect(page.get_by_role("status").first).to_contain_text("The image is deleted.")
    expect(tiles).to_have_count(3)

    # a new password
    visitor.open("/password")
    page.get_by_label("Current password", exact=True).fill(person.password)
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)
    visitor.press("Change password")
    expect(page.get_by_role("status").first).to_contain_text("Your password is changed.")
    person.password = NEW_PASSWORD

    # sessions, and out
    visitor.open("/sessions")
    expect(page.get_by_text("This device", exact=True)).to_be_visible()
    visitor.press("Sign out here")
    visitor.at("/")
    expect(page.get_by_role("status").first).to_contain_text("You are signed out.")

    # in again, and away for good
    visitor.sign_in(person)
    visitor.open("/close-account")
    page.get_by_label("Your email").fill(person.email)
    visitor.press("Close my account")
    visitor.at("/")
    expect(page.get_by_role("status").first).to_contain_text("Your account is closed.")


def test_each_file_of_a_form_is_told_what_became_of_it(member: Visitor) -> None:
    member.expect_status(422)
    page = member.page
    page.get_by_label("Choose images").set_input_files(
        [file("good.png"), file("text.png", b"I am only a text"), file("empty.png", b""), file("late.png")]
    )

    member.press("Upload")

    results = page.get_by_role("alert").get_by_role("listitem")
    expect(results).to_have_count(4)
    expect(results.nth(0)).to_contain_text("good.png Stored.")
    expect(results.nth(1)).to_contain_text(re.compile("text.png .*(PNG|image)"))
    expect(results.nth(2)).to_contain_text(re.compile("empty.png .*empty"))
    expect(results.nth(3)).to_contain_text("late.png Stored.")
    expect(page.get_by_text("2 images", exact=True)).to_be_visible()


def test_an_eleventh_file_of_a_form_is_not_stored(member: Visitor) -> None:
    member.expect_status(422)
    page = member.page
    page.get_by_label("Choose images").set_input_files([file(f"{n}.png", picture(16, 16)) for n in range(11)])

    member.press("Upload")

    expect(page.get_by_role("alert").get_by_role("listitem").nth(10)).to_contain_text("up to 10 files at a time")
    expect(page.get_by_text("10 images", exact=True)).to_be_visible()


def test_a_form_without_a_file_says_what_is_missing(member: Visitor) -> None:
    member.expect_status(422)
    # The browser itself asks for a file; one that does not still gets an answer.
    field = member.page.get_by_label("Choose images")
    field.evaluate("field => { field.required = false; }")

    member.press("Upload")

    expect(member.page.get_by_role("alert")).to_contain_text("Choose at least one image.")


def test_mistakes_are_named_beside_their_fields(visitor: Visitor) -> None:
    visitor.expect_status(422)
    page = visitor.open("/register")

    visitor.press("Register")

    expect_fault_beside(page.get_by_label("Name", exact=True), "Enter your name.")
    expect_fault_beside(page.get_by_label("Email", exact=True), "Enter your email address.")
    expect_fault_beside(page.get_by_label("Password", exact=True), "Choose a password.")


def test_another_session_is_ended(member: Visitor, person: Person, new_visitor: NewVisitor) -> None:
    other = new_visitor()
    other.sign_in(person)
    page = member.open("/sessions")

    page.get_by_role("button", name=re.compile("^Sign out of ")).click()

    expect(page.get_by_role("status").first).to_contain_text("That device is signed out.")
    other.open("/profile")
    other.at("/sign-in?next=%2Fprofile")
