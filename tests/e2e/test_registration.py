"""Coming in: registration and sign-in, with and without mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, expect

from tests.e2e.browsing import Visitor, expect_fault_beside, loaded
from tests.running import Person, ask, picture, url


def fill_in(visitor: Visitor, person: Person, image: FilePayload | None = None) -> None:
    page = visitor.open("/register")
    page.get_by_label("Name", exact=True).fill(person.name)
    page.get_by_label("Email", exact=True).fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)
    if image:
        page.get_by_label("Profile image (optional)").set_input_files(image)


def sign_in_status(person: Person) -> int:
    credentials = {"email": person.email, "password": person.password}
    return ask("POST", f"{url('gateway')}/api/v1/login", json=credentials).status


def test_a_visitor_finds_the_way_from_the_front_page_to_an_empty_gallery(visitor: Visitor) -> None:
    person = Person.new()
    page = visitor.open("/")
    page.get_by_role("link", name="Create your account").click()
    page.get_by_label("Name", exact=True).fill(person.name)
    page.get_by_label("Email", exact=True).fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)

    visitor.press("Register")

    visitor.at("/images")
    expect(page.get_by_role("status").first).to_contain_text(f"Welcome, {person.name}. Your account is ready.")
    expect(page.get_by_role("heading", name="No images yet")).to_be_visible()
    assert sign_in_status(person) == 200


def test_a_registration_with_an_image_ends_in_a_profile_that_shows_it(visitor: Visitor) -> None:
    person = Person.new()
    fill_in(visitor, person, {"name": "me.png", "mimeType": "image/png", "buffer": picture(600, 400)})
    preview = visitor.page.get_by_alt_text("Preview of the chosen image")
    loaded(preview)

    visitor.press("Register")

    visitor.at("/images")
    page = visitor.open("/profile")
    expect(page.get_by_role("heading", level=1)).to_have_text(person.name)
    loaded(page.get_by_alt_text("Your profile image"))
    loaded(page.get_by_role("navigation", name="Main").locator("img"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("photo.png", b"I am only a text", re.compile("not .*(PNG|image)")),
        ("photo.png", b"", "This file is empty."),
        ("photo.png", picture(noise=True)[:5000], re.compile("damaged|incomplete")),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", re.compile("not .*(PNG|image)")),
    ],
    ids=["a text named .png", "no bytes", "half a PNG", "an SVG"],
)
def test_a_bad_image_registers_nothing_and_says_why(
    visitor: Visitor, name: str, content: bytes, message: str | re.Pattern[str]
) -> None:
    person = Person.new()
    visitor.expect_status(422)
    fill_in(visitor, person, {"name": name, "mimeType": "image/png", "buffer": content})

    visitor.press("Register")

    page = visitor.page
    expect_fault_beside(page.get_by_label("Profile image (optional)"), message)
    expect(page).to_have_title(re.compile("^Error: Register"))
    expect(page.get_by_label("Name", exact=True)).to_have_value(person.name)
    expect(page.get_by_label("Email", exact=True)).to_have_value(person.email)
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    assert sign_in_status(person) == 401
    assert person.register().id


def test_an_image_of_more_than_ten_megabytes_registers_nothing(visitor: Visitor, tmp_path: Path) -> None:
    person = Person.new()
    visitor.expect_status(413)
    large = tmp_path / "large.png"
    large.write_bytes(picture() + b"\0" * (10 * 1024 * 1024))
    fill_in(visitor, person)
    visitor.page.get_by_label("Profile image (optional)").set_input_files(large)

    visitor.press("Register")

    expect_fault_beside(visitor.page.get_by_label("Profile image (optional)"), "larger than 10 MB")
    assert sign_in_status(person) == 401


def test_a_taken_email_address_is_named_beside_its_field(visitor: Visitor, person: Person) -> None:
    visitor.expect_status(409)
    other = Person.new("Bo Lind")
    other.email = person.email.upper()
    fill_in(visitor, other)

    visitor.press("Register")

    expect_fault_beside(
        visitor.page.get_by_label("Email", exact=True), "There is already an account with this email address."
    )


@pytest.mark.parametrize(
    ("changes", "label", "message"),
    [
        ({"name": ""}, "Name", "Enter your name."),
        ({"name": "x" * 101}, "Name", "at most 100 characters"),
        ({"email": ""}, "Email", "Enter your email address."),
        ({"email": "nowhere"}, "Email", "Enter an email address such as"),
        ({"password": ""}, "Password", "Choose a password."),
        ({"password": "short 1"}, "Password", "(it has 7)"),
        ({"password": "password123"}, "Password", re.compile("common")),
    ],
    ids=["no name", "long name", "no email", "no address", "no password", "short password", "common password"],
)
def test_a_mistake_is_named_beside_its_field(
    visitor: Visitor, changes: dict[str, Any], label: str, message: str | re.Pattern[str]
) -> None:
    person = Person.new()
    for name, value in changes.items():
        setattr(person, name, value)
    visitor.expect_status(422)
    fill_in(visitor, person)
    # A browser keeps to the length that the page names; another client may not.
    visitor.page.get_by_label("Name", exact=True).evaluate("field => field.removeAttribute('maxlength')")
    visitor.page.get_by_label("Name", exact=True).fill(person.name)

    visitor.press("Register")

    expect_fault_beside(visitor.page.get_by_label(label, exact=True), message)
    summary = visitor.page.get_by_role("alert")
    expect(summary).to_be_focused()
    summary.get_by_role("link").first.click()
    expect(visitor.page.get_by_label(label, exact=True)).to_be_focused()


def test_a_password_can_be_looked_at_while_it_is_typed(visitor: Visitor) -> None:
    page = visitor.open("/register")
    field, toggle = page.get_by_label("Password", exact=True), page.get_by_role("button", name="Show what I typed")
    field.fill("walnut tractor velvet")

    toggle.click()
    expect(field).to_have_attribute("type", "text")
    expect(toggle).to_have_attribute("aria-pressed", "true")

    toggle.click()
    expect(field).to_have_attribute("type", "password")


def test_signing_in_leads_to_the_page_that_was_wanted(visitor: Visitor, person: Person) -> None:
    page = visitor.open("/sessions")
    visitor.at("/sign-in?next=%2Fsessions")
    page.get_by_label("Email", exact=True).fill(person.email.upper())
    page.get_by_label("Password", exact=True).fill(person.password)

    visitor.press("Sign in")

    visitor.at("/sessions")


def test_signing_in_never_leads_to_somebody_elses_page(visitor: Visitor, person: Person) -> None:
    page = visitor.open("/sign-in?next=//elsewhere.example/images")
    page.get_by_label("Email", exact=True).fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)

    visitor.press("Sign in")

    visitor.at("/images")


def test_a_wrong_password_and_an_unknown_address_are_told_alike(visitor: Visitor, person: Person) -> None:
    visitor.expect_status(401)
    told = []
    for email in (person.email, Person.new().email):
        page = visitor.open("/sign-in")
        page.get_by_label("Email", exact=True).fill(email)
        page.get_by_label("Password", exact=True).fill("walnut tractor velvet")
        visitor.press("Sign in")
        expect(page.get_by_label("Email", exact=True)).to_have_value(email)
        expect(page.get_by_label("Password", exact=True)).to_have_value("")
        told.append(page.get_by_role("alert").inner_text())

    assert told[0] == told[1]
    assert "The email address or the password is wrong." in told[0]


def test_too_many_wrong_passwords_are_told_with_a_waiting_time(visitor: Visitor) -> None:
    visitor.expect_status(401, 429)
    stranger = Person.new()  # without an account: nobody is locked out for it
    for _ in range(10):
        assert sign_in_status(stranger) == 401
    page = visitor.open("/sign-in")
    page.get_by_label("Email", exact=True).fill(stranger.email)
    page.get_by_label("Password", exact=True).fill(stranger.password)

    visitor.press("Sign in")

    expect(page.get_by_role("alert")).to_contain_text(
        re.compile(r"Too many .* try again in \d+ seconds", re.IGNORECASE)
    )


def test_somebody_who_is_signed_in_needs_no_form_for_it(member: Visitor) -> None:
    for path in ("/", "/sign-in", "/register"):
        member.open(path)
        member.at("/images")
