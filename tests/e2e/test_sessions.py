"""Where one is signed in, signing out, and closing the account."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.e2e.browsing import Visitor, expect_fault_beside
from tests.e2e.conftest import NewVisitor
from tests.running import Person, ask, url

PHONE_BROWSER = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1"
)


def test_a_session_on_another_device_is_seen_and_ended(
    member: Visitor, person: Person, new_visitor: NewVisitor
) -> None:
    phone = new_visitor(user_agent=PHONE_BROWSER)
    phone.sign_in(person)
    page = member.open("/sessions")
    devices = page.get_by_role("main").get_by_role("listitem").filter(has=page.get_by_role("heading", level=2))
    expect(devices).to_have_count(2)
    expect(devices.nth(0)).to_contain_text("This device")
    expect(devices.nth(0)).to_contain_text("127.0.0.1")
    expect(devices.nth(1)).to_contain_text("Safari on iPhone")

    devices.nth(1).get_by_role("button", name="Sign out of Safari on iPhone").click()

    expect(page.get_by_role("status").first).to_contain_text("That device is signed out.")
    expect(devices).to_have_count(1)
    phone.open("/profile")
    phone.at("/sign-in?next=%2Fprofile")
    expect(phone.page.get_by_role("status").first).to_contain_text("Please sign in again.")
    expect(phone.page.get_by_role("link", name="Sign in")).to_be_visible()
    member.open("/profile")
    member.at("/profile")


def test_signing_out_leaves_nothing_to_go_back_to(member: Visitor, person: Person) -> None:
    page = member.open("/profile")

    page.get_by_role("navigation", name="Main").get_by_role("button", name="Sign out").click()

    member.at("/")
    expect(page.get_by_role("status").first).to_contain_text("You are signed out.")
    page.go_back()
    expect(page).to_have_url(re.compile("/sign-in"))
    assert person.email not in page.content()
    for path in ("/images", "/profile", "/password", "/sessions", "/close-account"):
        member.open(path)
        expect(page).to_have_url(re.compile("/sign-in"))
    assert [session["current"] for session in person.sign_in().call("GET", "/sessions").json["items"]] == [True]


def test_an_account_is_closed_after_its_address_was_typed_and_takes_everything_along(
    member: Visitor, person: Person
) -> None:
    member.expect_status(422)
    stored = person.sign_in().upload()
    page = member.open("/close-account")
    page.get_by_label("Your email").fill("somebody@example.org")
    member.press("Close my account")
    expect_fault_beside(page.get_by_label("Your email"), "This is not the email address of this account.")
    page.get_by_label("Your email").fill(person.email.upper())

    member.press("Close my account")

    member.at("/")
    expect(page.get_by_role("status").first).to_contain_text("Your account is closed.")
    credentials = {"email": person.email, "password": person.password}
    assert ask("POST", f"{url('gateway')}/api/v1/login", json=credentials).status == 401
    assert person.call("GET", "/profile").status == 401
    for address in ("url", "avatar_url", "card_url"):
        assert ask("GET", stored[address]).status == 404
    member.open("/images")
    expect(page).to_have_url(re.compile("/sign-in"))


def test_an_account_that_is_kept_is_kept(member: Visitor, person: Person) -> None:
    page = member.open("/close-account")

    page.get_by_role("link", name="Keep it").click()

    member.at("/profile")
    assert person.sign_in().access_token
