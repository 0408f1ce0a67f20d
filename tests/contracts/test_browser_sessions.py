"""Sessions through the running gateway: parallel requests of one browser, reuse, and the end of an account."""

from __future__ import annotations

import re
import threading
import time
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpResponse
from django.test import RequestFactory

from internal.contracts import TokenGrant
from portal import sessions
from tests.running import Answer, Person, ask, inside, url

GRACE = 10  # seconds; docs/decisions/0015


class Browser:
    """Keeps cookies as a browser does: whatever came last."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def send(self, method: str, path: str, **options: Any) -> Answer:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        answer = ask(method, url("gateway") + path, headers=headers | options.pop("headers", {}), **options)
        self.keep(answer)
        return answer

    def keep(self, answer: Answer) -> None:
        """Takes over the cookies of an answer."""
        for line in answer.headers.getlist("Set-Cookie"):  # type: ignore[attr-defined]
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0].strip('"')

    def sign_in(self, person: Person) -> None:
        page = self.send("GET", "/sign-in").body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token
        form = {"csrfmiddlewaretoken": token[1], "email": person.email, "password": person.password}
        answer = self.send(
            "POST",
            "/sign-in",
            body=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status == 302, answer.body

    def let_the_token_expire(self) -> None:
        """Changes the sign-in cookie to one whose access token has run out, and is good for nothing any more."""
        request, response = RequestFactory().get("/"), HttpResponse()
        request.COOKIES, request.session = self.cookies, SessionStore()
        sign_in = sessions.load(request)
        assert sign_in
        sessions.start(request, TokenGrant("run.out.now", sign_in.refresh_token, "Bearer", -1, 3600), sign_in.account)
        sessions.write_cookie(request, response)
        self.cookies[sessions.cookie_name()] = response.cookies[sessions.cookie_name()].value


@pytest.fixture
def person() -> Person:
    return Person.new().register()


@pytest.fixture
def browser(person: Person) -> Browser:
    browser = Browser()
    browser.sign_in(person)
    return browser


def at_once(browser: Browser, *paths: str) -> list[Answer]:
    """Requests that leave at the same moment, with the same cookies."""
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items())}
    start = threading.Barrier(len(paths))
    answers: list[Answer] = []

    def send(path: str) -> None:
        start.wait()
        answers.append(ask("GET", url("gateway") + path, headers=cookie))

    threads = [threading.Thread(target=send, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def events(session_of: str) -> list[str]:
    code = (
        "import json; from auth.models import AuditEvent; "
        f"print(json.dumps(list(AuditEvent.objects.filter(account_id='{session_of}').order_by('id')"
        ".values_list('what', flat=True))))"
    )
    found: list[str] = inside("auth", code)
    return found


@pytest.mark.parametrize("last", [0, 1])
def test_two_requests_at_once_with_an_expired_token_sign_nobody_out(
    browser: Browser, person: Person, last: int
) -> None:
    browser.let_the_token_expire()

    answers = at_once(browser, "/images", "/profile")
    browser.keep(answers[last])

    assert [answer.status for answer in answers] == [200, 200]
    time.sleep(GRACE + 1)
    browser.let_the_token_expire()
    assert browser.send("GET", "/sessions").status == 200
    assert "refresh_token_reused" not in events(person.id)


def test_six_requests_at_once_are_all_answered(browser: Browser) -> None:
    browser.let_the_token_expire()

    answers = at_once(browser, "/images", "/profile", "/sessions", "/password", "/images", "/close-account")

    assert [answer.status for answer in answers] == [200] * 6


def test_a_lost_answer_costs_nothing_when_it_is_asked_for_again_at_once(browser: Browser) -> None:
    browser.let_the_token_expire()
    [lost] = at_once(browser, "/images")
    assert lost.status == 200

    assert browser.send("GET", "/images").status == 200


def test_an_old_cookie_that_comes_back_late_signs_out_everywhere_and_is_recorded(
    browser: Browser, person: Person
) -> None:
    browser.let_the_token_expire()
    thief = Browser()
    thief.cookies = dict(browser.cookies)
    assert thief.send("GET", "/images").status == 200
    thief.let_the_token_expire()
    assert thief.send("GET", "/images").status == 200

    late = browser.send("GET", "/images")

    assert (late.status, late.headers["Location"]) == (302, "/sign-in?next=%2Fimages")
    thief.let_the_token_expire()
    assert thief.send("GET", "/images").status == 302
    assert events(person.id).count("refresh_token_reused") == 1


def test_a_living_access_token_of_a_closed_account_stores_nothing_and_finds_nothing(person: Person) -> None:
    person.sign_in()
    image = person.upload()
    assert ask("GET", image["url"]).status == 200

    assert person.call("DELETE", "/profile").status == 204

    refused = person.call("POST", "/images", form={"image": ("photo.png", b"\x89PNG")})
    direct = ask(
        "POST",
        f"{url('images')}/internal/v1/images",
        body=b"anything",
        headers={"Content-Type": "application/octet-stream"},
        token=person.access_token,
    )
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert (direct.status, direct.json["code"]) == (409, "conflict")
    assert person.call("GET", "/images").json["items"] == []
    assert [ask("GET", image[kind]).status for kind in ("url", "avatar_url", "card_url")] == [404] * 3
    assert person.call("GET", "/sessions").status == 401
    refresh = ask("POST", f"{url('gateway')}/api/v1/refresh", json={"refresh_token": person.refresh_token})
    assert (refresh.status, refresh.json["code"]) == (401, "invalid_refresh_token")


def test_an_event_says_where_the_person_is_and_in_which_request(person: Person) -> None:
    person.sign_in()
    request_id = "browser-sessions-0001"

    person.call(
        "PATCH",
        "/profile",
        json={"name": "Anna B."},
        headers={"X-Request-ID": request_id, "X-Client-Address": "6.6.6.6"},
    )

    code = (
        "import json; from auth.models import AuditEvent; "
        f"event = AuditEvent.objects.get(what='profile_changed', account_id='{person.id}'); "
        "print(json.dumps([event.address, event.request_id]))"
    )
    assert inside("auth", code) == ["127.0.0.1", request_id]
