"""The database is gone: nobody can sign in, and whoever is signed in keeps the portal."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from tests.e2e.browsing import Visitor, loaded
from tests.e2e.conftest import NewVisitor
from tests.e2e.judging import judge
from tests.outage.conftest import LIMIT, Member, served, stopped, unavailable
from tests.running import Person, ask, management_url, picture, until, url


@pytest.fixture(scope="module", autouse=True)
def _without_postgres(member: Member) -> Iterator[None]:
    with stopped("postgres"):
        yield


def test_sign_in_at_the_api_is_refused_in_time_and_in_the_words_of_the_contract(member: Member) -> None:
    for _ in range(8):  # with the circuit breaker closed at first, and open later
        unavailable(member.log_in(), "auth")


def test_many_sign_ins_at_once_are_refused_in_time(member: Member) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: member.log_in(), range(24)))

    for answer in answers:
        unavailable(answer, "auth")


def test_registration_at_the_api_is_refused_in_time() -> None:
    someone = Person.new()
    registration = {"name": someone.name, "email": someone.email, "password": someone.password}

    unavailable(ask("POST", f"{url('gateway')}/api/v1/register", json=registration), "auth")
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
    with page.expect_response(lambda response: response.request.method == "POST") as caught:
        visitor.press("Sign in")

    assert time.monotonic() - started < LIMIT + 0.5  # the browser's own share
    assert caught.value.status == 503
    assert int(caught.value.headers["retry-after"]) >= 1
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Failed to communicate with Auth service")
    expect(alert).to_contain_text(
        re.compile(r"nothing is wrong with your password\. Please try again in \d+ seconds?\.")
    )
    expect(page.get_by_label("Email", exact=True)).to_have_value(member.person.email)


def test_registration_at_the_portal_says_what_is_the_matter(new_visitor: NewVisitor) -> None:
    visitor = new_visitor()
    visitor.expect_status(503)
    page = visitor.open("/register")
    someone = Person.new()
    page.get_by_label("Name", exact=True).fill(someone.name)
    page.get_by_label("Email", exact=True).fill(someone.email)
    page.get_by_label("Password", exact=True).fill(someone.password)

    visitor.press("Register")

    expect(page.get_by_role("alert")).to_contain_text("Failed to communicate with Auth service")
    expect(page.get_by_role("alert")).to_contain_text("No account has been made.")


def test_somebody_who_is_signed_in_keeps_a_limited_profile(visitor: Visitor, member: Member) -> None:
    page = visitor.open("/profile")

    expect(page.get_by_role("heading", level=1)).to_have_text(member.person.name)
    expect(page.get_by_text(member.person.email)).to_be_visible()
    expect(page.get_by_role("heading", name="This profile is limited at the moment")).to_be_visible()
    expect(page.get_by_text("Failed to communicate with Auth service.")).to_be_visible()
    avatar = page.get_by_alt_text("Your profile image")
    loaded(avatar)
    assert avatar.get_attribute("src") == member.profile_image["avatar_url"]


def test_the_gallery_says_that_it_cannot_be_listed(visitor: Visitor) -> None:
    visitor.expect_status(503)
    page = visitor.open("/images")

    expect(page.get_by_role("heading", level=1)).to_have_text("Failed to communicate with Image service")
    expect(page.get_by_text("what is stored stays stored")).to_be_visible()
    expect(page.get_by_role("link", name="Try again")).to_be_visible()
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Profile").click()
    visitor.at("/profile")


def test_every_page_of_a_member_is_a_page_and_answers_in_time(visitor: Visitor) -> None:
    visitor.expect_status(503)
    for path in ("/", "/images", "/profile", "/password", "/sessions", "/close-account"):
        started = time.monotonic()
        response = visitor.page.goto(url("gateway") + path)
        assert response
        assert response.status in {200, 503}, path
        assert time.monotonic() - started < LIMIT + 0.5, path
        expect(visitor.page.get_by_role("navigation", name="Main").get_by_role("link", name="Profile")).to_be_visible()


def test_a_change_is_refused_and_nothing_of_it_kept(visitor: Visitor, member: Member) -> None:
    visitor.expect_status(503)
    page = visitor.open("/profile")
    page.get_by_label("Name", exact=True).fill("Somebody else")

    visitor.press("Save changes")

    expect(page.get_by_role("alert")).to_contain_text("Failed to communicate with Auth service")
    expect(page.get_by_role("alert")).to_contain_text("Nothing has been changed.")
    expect(visitor.open("/profile").get_by_role("heading", level=1)).to_have_text(member.person.name)


def test_the_profile_of_the_api_is_marked_as_limited(member: Member) -> None:
    answer = member.person.call("GET", "/profile")

    assert answer.status == 200
    assert answer.seconds < LIMIT
    assert answer.json["id"] == member.person.id
    assert sorted(answer.json["limited"]) == ["account", "image"]


@pytest.mark.parametrize(
    ("method", "path", "service"),
    [
        ("GET", "/images", "images"),
        ("DELETE", "/profile/image", "images"),
        ("GET", "/sessions", "auth"),
        ("DELETE", "/profile", "auth"),
    ],
)
def test_a_personal_call_says_which_service_is_missing(member: Member, method: str, path: str, service: str) -> None:
    unavailable(member.person.call(method, path), service)


def test_an_upload_is_refused(member: Member) -> None:
    unavailable(member.upload(), "images")


def test_stored_images_load(member: Member) -> None:
    assert served(member.image)
    assert served(member.profile_image)


def test_a_forged_token_is_still_refused(member: Member) -> None:
    token = member.person.access_token
    header, payload, signature = token.split(".")
    answer = ask("GET", f"{url('gateway')}/api/v1/profile", token=f"{header}.{payload}.{signature[::-1]}")

    assert (answer.status, answer.json["code"]) == (401, "invalid_token")


def test_only_auth_says_that_it_is_not_ready_and_nobody_that_it_is_dead() -> None:
    def readiness(role: str) -> int:
        return ask("GET", f"{management_url(role)}/readyz").status

    until(lambda: readiness("auth") == 503, "auth is not ready")
    assert {role: readiness(role) for role in ("gateway", "images", "files")} == {
        "gateway": 200,
        "images": 200,
        "files": 200,
    }
    for role in ("gateway", "auth", "images", "files"):
        assert ask("GET", f"{management_url(role)}/livez").status == 200


def test_the_gateway_counts_its_dependencies_as_down() -> None:
    def up() -> dict[str, str]:
        text = ask("GET", f"{management_url('gateway')}/metrics").body.decode()
        return dict(re.findall(r'^gateway_dependency_up\{dependency="(\w+)"\} (\S+)', text, re.MULTILINE))

    until(lambda: up() == {"auth": "0.0", "images": "0.0"}, f"both are down: {up()}")


def test_what_people_see_meanwhile_is_accessible(visitor: Visitor, new_visitor: NewVisitor) -> None:
    visitor.expect_status(503)
    for path in ("/profile", "/images"):
        judge(visitor.open(path))
    guest = new_visitor()
    guest.expect_status(503)
    page = guest.open("/sign-in")
    page.get_by_label("Email", exact=True).fill("anna@example.org")
    page.get_by_label("Password", exact=True).fill("walnut tractor velvet")
    guest.press("Sign in")
    expect(page.get_by_role("alert")).to_contain_text("Failed to communicate with Auth service")
    judge(page)
