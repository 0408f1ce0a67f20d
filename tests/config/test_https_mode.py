"""Cookies, redirects and HSTS as the real settings of gateway and console make them, with and without HTTPS_ONLY."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_roles import COMMON, ENVIRONMENTS, run

YEAR = 31_536_000

# Runs under the settings of a role: one visit after the other, and what came back.
VISITS = """
import json, re, sys
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import Client
call_command("collectstatic", "--no-input", verbosity=0)
if settings.ROOT_URLCONF == "config.urls.gateway":
    from internal import clients
    from tests.portal.fakes import FakeAuth, FakeImages
    auth, images = FakeAuth(), FakeImages()
    clients.auth_client, clients.images_client = lambda: auth, lambda: images

def visit(client, path, data=None, **extra):
    client.raise_request_exception = False
    answer = client.get(path, **extra) if data is None else client.post(path, data, **extra)
    cookies = {
        name: {key: morsel[key] for key in ("secure", "httponly", "samesite", "path", "domain")}
        for name, morsel in answer.cookies.items()
    }
    return {"status": answer.status_code, "headers": dict(answer.headers.items()), "cookies": cookies}

forwarded = {"HTTP_X_FORWARDED_PROTO": "https"}
paths = {"gateway": ["/sign-in", "/nowhere", "/api/v1/nowhere", "/images"], "console": ["/login/"]}[sys.argv[1]]
report = {path: {
    "plain": visit(Client(), path),
    "forwarded": visit(Client(), path, **forwarded),
    "forwarded_plain": visit(Client(), path, HTTP_X_FORWARDED_PROTO="http"),
    "forwarded_list": visit(Client(), path, HTTP_X_FORWARDED_PROTO="https, http"),
    "tls": visit(Client(), path, secure=True),
} for path in paths}
if sys.argv[1] == "gateway":
    credentials = {"email": "anna@example.org", "password": "seven green boats"}
    report["signed in"] = visit(Client(), "/sign-in", credentials, **forwarded)
    report["registered"] = visit(Client(), "/register", {"name": "Anna Berg", **credentials}, **forwarded)
    def posted(host="portal.example", **headers):
        # A form of that host, filled in and sent with the token that came with it.
        strict = Client(enforce_csrf_checks=True, HTTP_HOST=host)
        page = strict.get("/sign-in", **forwarded)
        token = re.search(r'name="csrfmiddlewaretoken" value="(.+?)"', page.content.decode())[1]
        return visit(strict, "/sign-in", {"csrfmiddlewaretoken": token, **credentials}, **forwarded, **headers)

    report["posted"] = {
        "own origin": posted(HTTP_ORIGIN="https://portal.example"),
        "own referrer": posted(HTTP_REFERER="https://portal.example/sign-in"),
        "trusted origin": posted("testserver", HTTP_ORIGIN="https://portal.example"),
        "plain origin": posted(HTTP_ORIGIN="http://portal.example"),
        "null origin": posted(HTTP_ORIGIN="null"),
        "foreign origin": posted(HTTP_ORIGIN="https://evil.example"),
        "origin of another host of ours": posted(HTTP_ORIGIN="https://testserver"),
        "foreign referrer": posted(HTTP_REFERER="https://evil.example/"),
        "neither": posted(),
    }
    strict = Client(enforce_csrf_checks=True, HTTP_HOST="portal.example")
    report["posted"]["no token"] = visit(
        strict, "/sign-in", credentials, HTTP_ORIGIN="https://portal.example", **forwarded
    )
print(json.dumps(report))
"""


def visits(role: str, *, https_only: bool, folder: Path) -> dict[str, Any]:
    environment = COMMON | ENVIRONMENTS[role]
    environment |= {
        "STATIC_ROOT": str(folder / role),
        "ALLOWED_HOSTS": "testserver,portal.example",
        "CSRF_TRUSTED_ORIGINS": "https://portal.example",
        "HTTPS_ONLY": "true" if https_only else "false",
        "LOG_LEVEL": "ERROR",
    }
    finished = run(role, "-c", VISITS, role, environment=environment)
    assert finished.returncode == 0, finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return report


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return visits("gateway", https_only=True, folder=tmp_path_factory.mktemp("static"))


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return visits("gateway", https_only=False, folder=tmp_path_factory.mktemp("static"))


def attributes(visit: dict[str, Any]) -> dict[str, tuple[bool, bool, str, str, str]]:
    return {
        name: (bool(morsel["secure"]), bool(morsel["httponly"]), morsel["samesite"], morsel["path"], morsel["domain"])
        for name, morsel in visit["cookies"].items()
    }


def test_with_https_every_cookie_is_secure_and_bound_to_this_host(https: dict[str, Any]) -> None:
    cookies = attributes(https["registered"])

    assert (https["signed in"]["status"], https["registered"]["status"]) == (302, 302)
    assert set(cookies) == {"__Host-seawall-sign-in", "__Host-seawall", "__Host-device", "__Host-csrf"}
    for visit in ("signed in", "registered"):
        assert set(attributes(https[visit]).values()) == {(True, True, "Lax", "/", "")}


def test_plain_http_drops_secure_and_the_prefix_and_nothing_else(http: dict[str, Any]) -> None:
    cookies = attributes(http["registered"])

    assert set(cookies) == {"seawall-sign-in", "seawall", "device", "csrf"}
    assert set(cookies.values()) == {(False, True, "Lax", "/", "")}


@pytest.mark.parametrize("path", ["/sign-in", "/nowhere", "/images", "/api/v1/nowhere"])
def test_with_https_a_year_of_it_is_demanded_on_every_answer(https: dict[str, Any], path: str) -> None:
    for way in ("tls", "forwarded"):
        value = https[path][way]["headers"]["Strict-Transport-Security"]
        assert value == f"max-age={YEAR}; includeSubDomains; preload"


@pytest.mark.parametrize("path", ["/sign-in", "/nowhere", "/images"])
@pytest.mark.parametrize("way", ["plain", "forwarded_plain", "forwarded_list"])
def test_with_https_a_plain_request_of_a_browser_is_sent_to_https_and_gets_no_cookie(
    https: dict[str, Any], path: str, way: str
) -> None:
    answer = https[path][way]

    assert (answer["status"], answer["headers"]["Location"]) == (301, f"https://testserver{path}")
    assert answer["cookies"] == {}


@pytest.mark.parametrize("way", ["plain", "forwarded_plain", "forwarded_list"])
def test_with_https_a_plain_call_of_the_api_is_refused_and_not_sent_on(https: dict[str, Any], way: str) -> None:
    answer = https["/api/v1/nowhere"][way]

    assert (answer["status"], answer["headers"]["Content-Type"]) == (403, "application/problem+json")
    assert "Location" not in answer["headers"]


def test_the_forwarded_scheme_is_believed_only_with_https_only(https: dict[str, Any], http: dict[str, Any]) -> None:
    assert https["/sign-in"]["forwarded"]["status"] == 200
    for way in ("plain", "forwarded", "tls"):
        assert "Strict-Transport-Security" not in http["/sign-in"][way]["headers"]
        assert http["/sign-in"][way]["status"] == 200


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("own origin", 302),
        ("own referrer", 302),
        ("trusted origin", 302),
        ("plain origin", 403),
        ("null origin", 403),
        ("foreign origin", 403),
        ("origin of another host of ours", 403),
        ("foreign referrer", 403),
        ("neither", 403),
        ("no token", 403),
    ],
)
def test_with_https_a_form_counts_only_from_a_page_of_the_portal_over_https(
    https: dict[str, Any], form: str, status: int
) -> None:
    assert https["posted"][form]["status"] == status


@pytest.mark.parametrize("https_only", [True, False])
def test_the_cookies_of_the_console_are_stricter_still(tmp_path: Path, https_only: bool) -> None:
    report = visits("console", https_only=https_only, folder=tmp_path)["/login/"]

    cookies = attributes(report["forwarded"])
    name = "__Host-console-csrf" if https_only else "console-csrf"
    assert cookies == {name: (https_only, True, "Strict", "/", "")}
    assert report["forwarded"]["headers"]["X-Frame-Options"] == "DENY"
    assert "no-store" in report["forwarded"]["headers"]["Cache-Control"]
    if https_only:
        assert {report[way]["status"] for way in ("plain", "forwarded_plain", "forwarded_list")} == {301}
        assert report["tls"]["headers"]["Strict-Transport-Security"].startswith(f"max-age={YEAR}")
