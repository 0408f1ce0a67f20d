"""What a browser is told with every answer of the gateway, and what the portal wants to see before it changes anything.

Addresses are enumerated from the URL configuration: a new one is under these tests at once.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django.views.decorators.csrf import csrf_exempt

from tests.portal.fakes import FakeAuth, FakeImages, stored_image
from tests.portal.signing_in import COOKIE, sign_in_of

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
PUBLIC = {"/", "/register", "/sign-in"}

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
POLICY = {
    "default-src": {"'none'"},
    "object-src": {"'none'"},
    "script-src": {"'self'"},
    "style-src": {"'self'"},
    "connect-src": {"'self'"},
    "form-action": {"'self'"},
    "base-uri": {"'none'"},
    "frame-ancestors": {"'none'"},
}
PERMISSIONS = ("camera", "geolocation", "microphone", "payment", "usb", "display-capture")


def patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every route below a resolver with its view."""
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from patterns(entry, route)
        else:
            assert isinstance(entry, URLPattern)
            yield route, entry.callback


def address(route: str) -> str:
    """An address that the route matches."""
    return "/" + re.sub(r"<uuid:[a-z_]+>", str(uuid.UUID(int=1)), re.sub(r"<path:[a-z_]+>", "nowhere", route))


ROUTES = dict(patterns(get_resolver("config.urls.gateway")))
PORTAL = sorted(address(route) for route in ROUTES if not route.startswith("api/"))
API = sorted(address(route) for route in ROUTES if route.startswith("api/"))
PERSONAL = [path for path in PORTAL if path not in PUBLIC]


def check_headers(answer: Any) -> None:
    """Every header that a browser needs, on whatever answer."""
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    policy = {
        words[0]: set(words[1:])
        for part in answer.headers["Content-Security-Policy"].split(";")
        if (words := part.split())
    }
    assert {name: policy.get(name) for name in POLICY} == POLICY
    assert "'unsafe-inline'" not in str(policy)
    assert "'unsafe-eval'" not in str(policy)
    permissions = answer.headers["Permissions-Policy"]
    assert [feature for feature in PERMISSIONS if f"{feature}=()" not in permissions] == []
    assert "Access-Control-Allow-Origin" not in answer.headers


def is_private(answer: Any) -> bool:
    control = answer.headers.get("Cache-Control", "")
    return "no-store" in control


def test_the_enumeration_sees_the_portal_and_the_api() -> None:
    assert {"/", "/sign-in", "/images", f"/images/{uuid.UUID(int=1)}/delete", "/close-account"} <= set(PORTAL)
    assert {"/api/v1/login", "/api/v1/profile", "/api/v1/nowhere"} <= set(API)
    assert len(PORTAL) >= 15


@pytest.mark.parametrize("path", PORTAL)
def test_every_answer_of_the_portal_has_every_header_and_is_not_stored(
    anna: Client, images: FakeImages, path: str
) -> None:
    images.items = [stored_image(1)]

    for method in ("GET", "HEAD", "OPTIONS", *UNSAFE):
        answer = anna.generic(method, path)
        check_headers(answer)
        assert is_private(answer), method


@pytest.mark.parametrize("path", PORTAL)
def test_visitors_get_the_same_headers(visitor: Client, path: str) -> None:
    answer = visitor.get(path)

    check_headers(answer)
    assert is_private(answer)


@pytest.mark.parametrize("path", API)
def test_every_answer_of_the_api_has_every_header(visitor: Client, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        check_headers(visitor.generic(method, path))


# error pages


def _raises(error: Exception) -> Callable[..., HttpResponse]:
    def view(*_: Any, **__: Any) -> HttpResponse:
        raise error

    return view


@pytest.fixture
def broken_home(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Makes the front page raise."""

    def breaks(error: Exception) -> None:
        monkeypatch.setattr("portal.views.entry.render", _raises(error))

    return breaks


@pytest.mark.parametrize(
    ("error", "status"), [(BadRequest(), 400), (PermissionDenied(), 403), (ZeroDivisionError(), 500)]
)
def test_the_page_of_a_failure_has_every_header_and_is_not_stored(
    visitor: Client, broken_home: Callable[[Exception], None], error: Exception, status: int
) -> None:
    visitor.raise_request_exception = False
    broken_home(error)

    page = visitor.get("/")

    assert page.status_code == status
    check_headers(page)
    assert is_private(page)


def error_pages(client: Client, auth: FakeAuth) -> Iterator[tuple[int, Any]]:
    """One answer for each status that the portal answers with when something is wrong."""
    yield 400, client.generic("POST", "/sign-in", b"email=a", content_type="text/plain", CONTENT_LENGTH="seven")
    yield 404, client.get("/nowhere")
    yield 405, client.get("/sign-out")
    yield 411, client.generic("POST", "/images", b"", HTTP_TRANSFER_ENCODING="chunked")
    yield 413, client.generic("POST", "/images", b"", content_type="text/plain", CONTENT_LENGTH=str(10**12))
    yield 400, client.get("/", headers={"host": "elsewhere.example"})
    auth.is_down()
    yield 503, client.get("/sessions")


def test_every_error_page_has_every_header_and_is_not_stored(anna: Client, auth: FakeAuth) -> None:
    for status, page in error_pages(anna, auth):
        assert page.status_code == status
        check_headers(page)
        assert is_private(page), status
        assert page.headers["Content-Type"].startswith(("text/html; charset=utf-8", "application/problem+json"))


# cross-site requests


@pytest.mark.parametrize("path", PORTAL)
def test_no_unsafe_request_gets_anywhere_without_a_token_of_ours(
    anna: Client, auth: FakeAuth, images: FakeImages, path: str
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.cookies = anna.cookies
    images.items = [stored_image(1)]
    auth.calls.clear()
    images.calls.clear()

    for method in UNSAFE:
        for body in (b"", b"csrfmiddlewaretoken=forged"):
            answer = browser.generic(method, path, body, "application/x-www-form-urlencoded")
            assert answer.status_code == 403, method
            check_headers(answer)

    assert (auth.calls, images.calls, images.items) == ([], [], [stored_image(1)])


@pytest.mark.parametrize("route", [route for route in ROUTES if not route.startswith("api/")])
def test_no_view_of_the_portal_is_exempt_from_the_check(route: str) -> None:
    assert getattr(ROUTES[route], "csrf_exempt", False) is False


def test_the_check_of_exemption_would_see_one() -> None:
    assert csrf_exempt(lambda request: HttpResponse()).csrf_exempt is True  # type: ignore[attr-defined]


def token_in(page: Any) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    assert found
    return found[1]


def test_the_token_of_a_form_opens_it_and_that_of_another_browser_does_not(visitor: Client) -> None:
    browser, attacker = Client(enforce_csrf_checks=True), Client(enforce_csrf_checks=True)
    own, foreign = token_in(browser.get("/sign-in")), token_in(attacker.get("/sign-in"))
    credentials = {"email": "anna@example.org", "password": "seven green boats"}

    assert browser.post("/sign-in", {**credentials, "csrfmiddlewaretoken": foreign}).status_code == 403
    assert browser.post("/sign-in", {**credentials, "csrfmiddlewaretoken": own}).status_code == 302


def test_a_page_of_another_origin_is_refused_even_with_a_good_token(visitor: Client) -> None:
    browser = Client(enforce_csrf_checks=True)
    form = {"email": "anna@example.org", "password": "x", "csrfmiddlewaretoken": token_in(browser.get("/sign-in"))}

    assert browser.post("/sign-in", form, headers={"origin": "https://evil.example"}).status_code == 403
    assert browser.post("/sign-in", form, headers={"origin": "null"}).status_code == 403


@pytest.mark.parametrize("path", PERSONAL)
def test_a_safe_request_changes_nothing(anna: Client, auth: FakeAuth, images: FakeImages, path: str) -> None:
    images.items = [stored_image(1)]
    auth.calls.clear()
    images.calls.clear()
    reading = {"account", "sessions", "profile_image", "list", "get"}

    anna.get(path)
    anna.head(path)

    assert {name for name, _ in auth.calls + images.calls} <= reading


# the api has no cookies


@pytest.mark.parametrize("path", API)
def test_a_cookie_opens_nothing_in_the_api(anna: Client, auth: FakeAuth, images: FakeImages, path: str) -> None:
    auth.calls.clear()
    images.calls.clear()

    for method in ("GET", "DELETE", "PUT", "PATCH"):
        answer = anna.generic(method, path)
        assert answer.status_code in {200, 400, 401, 404, 405, 415}
        assert "Set-Cookie" not in answer.headers
        assert not answer.cookies

    assert (auth.calls, images.calls) == ([], [])


# session fixation


def test_a_session_that_somebody_planted_does_not_become_that_of_the_person(visitor: Client, auth: FakeAuth) -> None:
    attacker = Client()
    attacker.post("/register", {"name": "Mallory", "email": "m@example.org", "password": "seven green boats"})
    attacker.get("/sign-in")
    planted = {name: attacker.cookies[name].value for name in ("csrf", "seawall")}
    victim = Client()
    victim.cookies.load(planted)
    victim.post("/sign-in", {"email": "anna@example.org", "password": "seven green boats"})

    attackers, victims = sign_in_of(attacker), sign_in_of(victim)
    assert attackers
    assert victims
    assert victims.refresh_token != attackers.refresh_token
    assert (planted["seawall"] != "", victim.cookies["seawall"].value) == (True, "")
    assert victim.cookies["csrf"].value != planted["csrf"]


def test_signing_out_takes_the_cookie_and_the_csrf_secret_away(anna: Client) -> None:
    anna.get("/images")
    before = anna.cookies["csrf"].value

    anna.post("/sign-out")

    assert (sign_in_of(anna), anna.cookies[COOKIE].value) == (None, "")
    assert anna.cookies["csrf"].value != before


def test_two_sign_ins_have_nothing_in_common(visitor: Client) -> None:
    cookies = set()
    for _ in range(2):
        browser = Client()
        browser.post("/sign-in", {"email": "anna@example.org", "password": "seven green boats"})
        cookies.add((browser.cookies[COOKIE].value, browser.cookies["csrf"].value))
    assert len({cookie for pair in cookies for cookie in pair}) == 4


def test_the_cookies_of_plain_http_are_hidden_from_scripts_and_other_sites(anna: Client) -> None:
    anna.get("/images")

    assert {COOKIE, "csrf", "device"} <= set(anna.cookies)
    for cookie in anna.cookies.values():
        assert (bool(cookie["httponly"]), cookie["samesite"], cookie["path"], cookie["domain"]) == (
            True,
            "Lax",
            "/",
            "",
        )


def test_a_forwarded_scheme_means_nothing_on_plain_http() -> None:
    request = RequestFactory(HTTP_X_FORWARDED_PROTO="https").get("/")

    assert not request.is_secure()


def test_an_api_error_is_json_whatever_the_browser_wants(visitor: Client) -> None:
    answer = visitor.get("/api/v1/nowhere", headers={"accept": "text/html"})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["code"] == "not_found"


@pytest.mark.parametrize("path", ["/images", "/profile", "/password", "/sessions", "/close-account"])
def test_every_personal_page_has_a_way_to_sign_out(anna: Client, path: str) -> None:
    page = anna.get(path).content.decode()

    assert "<form" in page
    assert 'action="/sign-out"' in page


@pytest.mark.parametrize("path", ["/sign-in", "/register"])
def test_password_fields_are_masked_and_take_a_password_manager(visitor: Client, path: str) -> None:
    [field] = re.findall(r'<input[^>]*name="password"[^>]*>', visitor.get(path).content.decode())

    assert 'type="password"' in field
    assert re.search(r'autocomplete="(current|new)-password"', field)
    assert "onpaste" not in field
