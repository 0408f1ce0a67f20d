"""The profile: name, email, image, password."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor, expect_fault_beside, loaded
from tests.e2e.conftest import NewVisitor
from tests.running import Person, picture

NEW_PASSWORD = "walnut tractor velvet 12"


def test_the_profile_shows_who_one_is_and_when_one_signed_in(member: Visitor, person: Person) -> None:
    page = member.open("/profile")

    expect(page.get_by_role("heading", level=1)).to_have_text(person.name)
    expect(page.get_by_label("Name", exact=True)).to_have_value(person.name)
    expect(page.get_by_label("Email", exact=True)).to_have_value(person.email)
    times = page.get_by_role("region", name="Sign-in times")
    expect(times).to_contain_text(re.compile(r"This sign-in\s*\d{1,2} \w+ \d{4}"))
    expect(times).to_contain_text(re.compile(r"The one before\s*never"))
    expect(page.get_by_text("You have no profile image yet.")).to_be_visible()


def test_a_new_name_is_kept_and_shown(member: Visitor, person: Person) -> None:
    page = member.open("/profile")
    page.get_by_label("Name", exact=True).fill("Anna Sandström")

    member.press("Save changes")

    expect(page.get_by_role("status").first).to_contain_text("Your profile is saved.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Anna Sandström")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Anna Sandström")
    assert person.sign_in().call("GET", "/profile").json["name"] == "Anna Sandström"


def test_a_name_is_text_and_never_markup(member: Visitor) -> None:
    page = member.open("/profile")
    name = '<b onclick=alert(1)>Anna</b> & "co" \''
    page.get_by_label("Name", exact=True).fill(name)

    member.press("Save changes")

    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)


@pytest.mark.parametrize(
    ("name", "message"), [("", "Enter your name."), ("   ", "Enter your name.")], ids=["none", "spaces"]
)
def test_a_name_that_is_none_is_refused_beside_its_field(member: Visitor, name: str, message: str) -> None:
    member.expect_status(422)
    page = member.open("/profile")
    page.get_by_label("Name", exact=True).fill(name)

    member.press("Save changes")

    expect_fault_beside(page.get_by_label("Name", exact=True), message)


def test_a_new_email_address_needs_the_password(member: Visitor, person: Person) -> None:
    member.expect_status(422)
    page = member.open("/profile")
    email = Person.new().email
    page.get_by_label("Email", exact=True).fill(email)

    member.press("Save changes")
    expect_fault_beside(
        page.get_by_label("Current password", exact=True), "Enter your current password to change your email."
    )
    page.get_by_label("Current password", exact=True).fill("not the one")
    member.press("Save changes")
    expect_fault_beside(page.get_by_label("Current password", exact=True), "This is not your current password.")
    expect(page.get_by_label("Email", exact=True)).to_have_value(email)
    page.get_by_label("Current password", exact=True).fill(person.password)
    member.press("Save changes")

    expect(page.get_by_role("status").first).to_contain_text("Your profile is saved.")
    person.email = email
    assert person.sign_in().access_token


def test_a_profile_image_is_uploaded_changed_and_removed(member: Visitor) -> None:
    page = member.open("/profile")
    avatar, field = page.get_by_alt_text("Your profile image"), page.get_by_label("New profile image")
    sources = []
    for name in ("first.png", "second.png"):
        field.set_input_files({"name": name, "mimeType": "image/png", "buffer": picture(300, 500)})
        loaded(page.get_by_alt_text("Preview of the chosen image"))
        member.press("Upload image")
        expect(page.get_by_role("status").first).to_contain_text("Your profile image is set.")
        loaded(avatar)
        sources.append(avatar.get_attribute("src"))
    assert len(set(sources)) == 2

    member.press("Remove profile image")

    expect(page.get_by_role("status").first).to_contain_text("The image is still in your gallery.")
    expect(avatar).to_have_count(0)
    expect(member.open("/images").get_by_text("2 images", exact=True)).to_be_visible()


def test_a_bad_profile_image_is_refused_beside_its_field(member: Visitor) -> None:
    member.expect_status(422)
    page = member.open("/profile")
    bad = {"name": "me.png", "mimeType": "image/png", "buffer": b"I am only a text"}
    page.get_by_label("New profile image").set_input_files(bad)

    member.press("Upload image")

    expect_fault_beside(page.get_by_label("New profile image"), re.compile("not .*(PNG|image)"))
    member.press("Upload image")
    expect_fault_beside(page.get_by_label("New profile image"), "Choose an image.")


# password


def test_a_new_password_signs_out_everywhere_else(member: Visitor, person: Person, new_visitor: NewVisitor) -> None:
    other = new_visitor()
    other.sign_in(person)
    page = member.open("/password")
    page.get_by_label("Current password", exact=True).fill(person.password)
    page.get_by_label("New password", exact=True).fill(NEW_PASSWORD)

    member.press("Change password")

    expect(page.get_by_role("status").first).to_contain_text("Everywhere else you are signed out now.")
    expect(member.open("/profile").get_by_role("heading", level=1)).to_have_text(person.name)
    other.open("/profile")
    other.at("/sign-in?next=%2Fprofile")
    expect(other.page.get_by_role("status").first).to_contain_text("Please sign in again.")
    person.password = NEW_PASSWORD
    other.sign_in(person)


@pytest.mark.parametrize(
    ("current", "new", "label", "message"),
    [
        ("not the one", NEW_PASSWORD, "Current password", "This is not your current password."),
        ("", NEW_PASSWORD, "Current password", "Enter your password."),
        (None, "short 1", "New password", "(it has 7)"),
        (None, "password123", "New password", "too common"),
    ],
    ids=["wrong", "none", "short", "common"],
)
def test_a_password_is_not_changed_wrongly(
    member: Visitor, person: Person, current: str | None, new: str, label: str, message: str
) -> None:
    member.expect_status(422)
    page = member.open("/password")
    page.get_by_label("Current password", exact=True).fill(person.password if current is None else current)
    page.get_by_label("New password", exact=True).fill(new)

    member.press("Change password")

    expect_fault_beside(page.get_by_label(label, exact=True), message)
    assert person.sign_in().access_token
