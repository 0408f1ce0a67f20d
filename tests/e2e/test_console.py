"""The console: staff at Django's admin, on a port of its own."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.running import Person, ask, manage, picture, url


@dataclass(frozen=True)
class Staff:
    """A member of staff, made by the command that the README names."""

    name: str
    password: str


@pytest.fixture(scope="module")
def staff() -> Staff:
    made = Staff(f"staff-{secrets.token_hex(4)}", f"harbour {secrets.token_hex(6)} crane")
    finished = manage(
        "createsuperuser",
        "--noinput",
        environment={
            "DJANGO_SUPERUSER_USERNAME": made.name,
            "DJANGO_SUPERUSER_EMAIL": f"{made.name}@example.org",
            "DJANGO_SUPERUSER_PASSWORD": made.password,
        },
    )
    assert finished.returncode == 0, finished.stderr
    return made


@pytest.fixture
def console(new_visitor: NewVisitor, staff: Staff) -> Visitor:
    """Staff, signed in at the console."""
    visitor = new_visitor(base=url("console"))
    page = visitor.open("/")
    page.get_by_label("Username:").fill(staff.name)
    page.get_by_label("Password:").fill(staff.password)
    page.get_by_role("button", name="Log in").click()
    visitor.at("/")
    return visitor


@pytest.fixture
def person() -> Person:
    """Somebody who signed in wrongly once, then rightly, and stored an image."""
    person = Person.new(f"Nora {secrets.token_hex(4)}").register()
    wrong = {"email": person.email, "password": "not the one"}
    assert ask("POST", f"{url('gateway')}/api/v1/login", json=wrong).status == 401
    person.sign_in().upload(picture(300, 200))
    return person


def rows(page: Page) -> list[str]:
    return [row.inner_text() for row in page.locator("#result_list tbody tr").all()]


def test_the_first_page_leads_to_everything_that_staff_may_see(console: Visitor) -> None:
    expect(console.page.get_by_role("link", name="Seawall console")).to_be_visible()
    for name in ("Accounts", "Sessions", "Audit events", "Signing keys", "Images"):
        expect(console.page.locator("#content th").get_by_role("link", name=name, exact=True)).to_be_visible()


def test_staff_find_an_account_with_its_sessions(console: Visitor, person: Person) -> None:
    page = console.open(f"/credentials/account/?q={person.name.replace(' ', '+')}")
    assert len(rows(page)) == 1
    assert person.email in rows(page)[0]

    page.get_by_role("link", name=person.name).click()

    expect(page.get_by_role("main")).to_contain_text(person.id)
    expect(page.get_by_role("group", name="Sessions")).to_contain_text("127.0.0.1")
    assert page.get_by_role("button", name="Save").count() == 0


def test_staff_end_a_session(console: Visitor, person: Person) -> None:
    page = console.open(f"/credentials/session/?q={person.id}")
    assert len(rows(page)) == 1
    page.locator("#result_list input[name=_selected_action]").check()
    page.get_by_label("Action:").select_option("end_sessions")

    page.get_by_role("button", name=re.compile("^(Go|Run)")).click()

    expect(page.get_by_text("1 session ended.")).to_be_visible()
    assert person.call("GET", "/profile").json["code"] == "invalid_token"


def test_the_audit_shows_what_happened_and_lets_nobody_change_it(console: Visitor, person: Person) -> None:
    page = console.open(f"/credentials/auditevent/?q={person.id}")
    told = "\n".join(reversed(rows(page)))
    assert re.search(r"Registered.*\n.*[Ff]ailed.*\n.*Signed in", told), told
    assert page.locator("#content").get_by_role("link", name=re.compile("^Add ")).count() == 0
    assert page.get_by_label("Action:").count() == 0

    page.locator("#result_list tbody a").first.click()

    expect(page.get_by_role("main")).to_contain_text(person.id)
    for name in ("Save", "Delete"):
        assert page.get_by_role("button", name=re.compile(name)).count() == 0
        assert page.get_by_role("link", name=re.compile(name)).count() == 0
    console.expect_status(403)
    event = page.url.partition("/change/")[0]
    for action in ("delete", "../add"):
        page.goto(f"{event}/{action}/")
        expect(page.get_by_role("heading", name=re.compile("403|Forbidden"))).to_be_visible()
    assert person.email not in told


def test_images_are_listed_with_thumbnails_that_load(console: Visitor, person: Person) -> None:
    page = console.open(f"/images/image/?q={person.id}")
    assert len(rows(page)) == 1
    assert "300 by 200" in rows(page)[0]
    loaded(page.locator("#result_list").get_by_role("img", name=re.compile("^Image ")))

    page.locator("#result_list tbody th a").first.click()

    loaded(page.get_by_role("main").get_by_role("img").first)


def test_staff_remove_an_image_as_its_owner_would(console: Visitor, person: Person) -> None:
    address = person.call("GET", "/images").json["items"][0]["card_url"]
    page = console.open(f"/images/image/?q={person.id}")
    page.locator("#result_list tbody th a").first.click()

    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name=re.compile("^Yes")).click()

    expect(page.get_by_text("was deleted successfully")).to_be_visible()
    assert person.call("GET", "/images").json == {"items": [], "next_cursor": None, "total": 0}
    assert ask("GET", address).status == 404


def test_every_list_opens_without_a_fault(console: Visitor) -> None:
    page = console.page
    paths = [str(link.get_attribute("href")) for link in page.locator("#content-main th a").all()]
    assert len(paths) >= 8, paths
    for path in paths:
        console.open(path)
        expect(page.locator("#changelist")).to_be_visible()


def test_a_persons_account_does_not_open_the_console(new_visitor: NewVisitor, person: Person) -> None:
    visitor = new_visitor(base=url("console"))
    page = visitor.open("/credentials/account/")
    page.get_by_label("Username:").fill(person.email)
    page.get_by_label("Password:").fill(person.password)

    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    expect(page).to_have_url(re.compile("/login/"))


def test_the_portal_does_not_know_the_console(visitor: Visitor) -> None:
    visitor.expect_status(404)
    for path in ("/admin/", "/credentials/account/", "/login/", "/console"):
        expect(visitor.open(path).get_by_role("heading", level=1)).to_have_text("There is nothing here")
