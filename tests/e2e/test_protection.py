"""What the portal keeps from scripts, from other sites, and from whoever comes to the browser later."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor
from tests.e2e.conftest import NewVisitor
from tests.running import Person, ask, url

PAGES = ["/", "/register", "/sign-in", "/images", "/profile", "/password", "/sessions", "/close-account", "/nothing"]


def test_cookies_are_out_of_reach_for_scripts_and_other_sites(member: Visitor) -> None:
    member.open("/profile").get_by_label("Name", exact=True).fill("Anna Sandström")
    member.press("Save changes")
    member.at("/profile")

    cookies = {cookie["name"]: (cookie["httpOnly"], cookie["sameSite"]) for cookie in member.context.cookies()}

    assert cookies.keys() == {"seawall-sign-in", "seawall", "csrf", "device"}
    assert set(cookies.values()) == {(True, "Lax")}
    assert member.page.evaluate("document.cookie") == ""
    assert member.page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_nothing_inline_and_nobody_else(path: str) -> None:
    headers = ask("GET", url("gateway") + path).headers

    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert set(policy["img-src"].split()) == {"'self'", "blob:", "data:", url("files")}
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "no-store" in headers["Cache-Control"]


def test_a_form_from_another_site_is_refused(member: Visitor, tmp_path: Path) -> None:
    member.expect_status(403)
    trap = tmp_path / "trap.html"
    trap.write_text(f'<form method="post" action="{url("gateway")}/sign-out"><button>Win a prize</button></form>')
    member.watch.hosts |= {""}
    page = member.page
    page.goto(trap.as_uri())

    page.get_by_role("button", name="Win a prize").click()

    # The cookie of the sign-in does not travel along, so that there is nobody to sign out; and the form is refused.
    expect(page.get_by_role("heading", level=1)).to_have_text("This form has expired")
    member.open("/profile")
    member.at("/profile")


def test_a_form_that_was_open_while_somebody_else_signed_in_is_refused(visitor: Visitor, person: Person) -> None:
    visitor.expect_status(403)
    stale = visitor.open("/sign-in")
    other_tab = visitor.context.new_page()
    other_tab.goto(f"{url('gateway')}/sign-in")
    other_tab.get_by_label("Email", exact=True).fill(person.email)
    other_tab.get_by_label("Password", exact=True).fill(person.password)
    other_tab.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(other_tab).to_have_url(f"{url('gateway')}/images")

    stale.get_by_label("Email", exact=True).fill(person.email)
    stale.get_by_label("Password", exact=True).fill(person.password)
    visitor.press("Sign in")

    expect(stale.get_by_role("heading", level=1)).to_have_text("This form has expired")


def test_a_cookie_that_was_altered_is_nobodys(member: Visitor, person: Person) -> None:
    value = next(cookie["value"] for cookie in member.context.cookies() if cookie["name"] == "seawall-sign-in")
    altered = {"name": "seawall-sign-in", "value": value[:-2] + "xx", "url": url("gateway")}
    member.context.add_cookies([altered])

    page = member.open("/profile")

    expect(page).to_have_url(re.compile("/sign-in"))
    assert person.email not in page.content()


def test_a_page_that_is_not_there_says_so_and_leads_back(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    visitor.expect_status(404, 405)
    page = visitor.open("/nothing/here")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    expect(page.get_by_text(re.compile("Request [0-9a-f]{32}"))).to_be_visible()
    page.get_by_role("link", name="Go to the start").click()
    visitor.at("/")
    expect(visitor.open("/sign-out").get_by_role("heading", level=1)).to_have_text("This address works differently")
