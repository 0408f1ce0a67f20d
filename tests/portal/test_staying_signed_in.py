from __future__ import annotations

import time

import pytest
from django.test import Client

from internal.problems import Problem
from tests.portal.fakes import FIREFOX, FakeAuth, FakeImages, stored_image
from tests.portal.pages import text_of

PERSONAL = ["/images", "/profile", "/password", "/sessions", "/close-account"]
REFUSED = Problem("invalid_refresh_token", "The refresh token is not valid.")


def age(client: Client, *, seconds_left: int) -> None:
    """Changes the cookie to one whose access token has that long to live."""
    session = client.session
    session["sign_in"]["access_expires_at"] = int(time.time()) + seconds_left
    session.save()
    client.cookies["seawall"] = session.session_key


@pytest.mark.parametrize("path", PERSONAL)
def test_a_visitor_is_asked_to_sign_in_and_comes_back(visitor: Client, path: str) -> None:
    response = visitor.get(f"{path}?a=b")

    assert response.status_code == 302
    assert response.headers["Location"] == f"/sign-in?next={path.replace('/', '%2F')}%3Fa%3Db"


@pytest.mark.parametrize("path", [*PERSONAL, "/", "/sign-in", "/nowhere"])
def test_no_page_is_stored_by_a_browser_or_proxy(anna: Client, path: str) -> None:
    control = anna.get(path).headers["Cache-Control"]

    assert "no-store" in control
    assert "private" in control


def test_pages_are_strict_about_where_things_come_from(anna: Client) -> None:
    page = anna.get("/images")

    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert {"'self'", "blob:", "http://files.test:8003"} <= set(policy["img-src"].split())
    html = page.content.decode()
    assert "style=" not in html
    assert "<script>" not in html


def test_a_fresh_token_is_used_as_it_is(anna: Client, auth: FakeAuth, images: FakeImages) -> None:
    anna.get("/images")

    assert auth.called("refresh") == []
    assert images.called("list") == [{"token": "access-1", "cursor": None, "limit": 24}]


@pytest.mark.parametrize("seconds_left", [29, -3600])
def test_a_token_near_or_past_its_end_is_renewed_once(
    anna: Client, auth: FakeAuth, images: FakeImages, seconds_left: int
) -> None:
    age(anna, seconds_left=seconds_left)

    first, second = anna.get("/images"), anna.get("/images")

    assert (first.status_code, second.status_code) == (200, 200)
    assert auth.called("refresh") == [{"refresh_token": "refresh-1", "device": FIREFOX, "address": "127.0.0.1"}]
    assert [call["token"] for call in images.called("list")] == ["access-2", "access-2"]
    assert anna.session["sign_in"]["refresh_token"] == "refresh-2"


def test_a_refused_renewal_signs_out(anna: Client, auth: FakeAuth) -> None:
    age(anna, seconds_left=-1)
    auth.rejects("refresh", REFUSED)

    page = anna.get("/sessions", follow=True)

    assert page.redirect_chain == [("/sign-in?next=%2Fsessions", 302)]
    assert "Please sign in again." in text_of(page)
    assert "sign_in" not in anna.session


def test_too_many_renewals_do_not_sign_out(anna: Client, auth: FakeAuth) -> None:
    age(anna, seconds_left=20)
    auth.rejects("refresh", Problem("too_many_requests", "Slow down.", retry_after=3))

    assert anna.get("/images").status_code == 200
    assert "sign_in" in anna.session


def test_a_session_ended_elsewhere_is_noticed(anna: Client, auth: FakeAuth) -> None:
    auth.rejects("account", Problem("invalid_token", "The session has ended."))

    page = anna.get("/profile", follow=True)

    assert page.redirect_chain == [("/sign-in?next=%2Fprofile", 302)]
    assert "Please sign in again." in text_of(page)
    assert "sign_in" not in anna.session


def test_while_auth_is_down_a_living_token_still_shows_the_gallery(
    anna: Client, auth: FakeAuth, images: FakeImages
) -> None:
    images.items = [stored_image()]
    age(anna, seconds_left=20)
    auth.is_down()

    assert anna.get("/images").status_code == 200


def test_while_auth_is_down_and_the_token_has_expired_one_stays_signed_in_with_a_limited_profile(
    anna: Client, auth: FakeAuth, images: FakeImages
) -> None:
    images.items = [stored_image(5, is_profile_image=True)]
    anna.get("/profile")
    age(anna, seconds_left=-1)
    auth.is_down()

    profile, gallery = anna.get("/profile"), anna.get("/images")

    words = text_of(profile)
    assert profile.status_code == 200
    assert "This profile is limited at the moment" in words
    assert "Anna Berg" in words
    assert "anna@example.org" in words
    assert f"http://files.test:8003{images.items[0].avatar_path}" in profile.content.decode()
    assert "Sign-in times" not in words
    assert (gallery.status_code, gallery.headers["Retry-After"]) == (503, "5")
    assert "Failed to communicate with Auth service" in text_of(gallery)
    assert "Sign out" in text_of(gallery)

    auth.is_up()
    assert anna.get("/images").status_code == 200
    assert "limited" not in text_of(anna.get("/profile"))


def test_a_cookie_of_another_shape_is_no_sign_in(anna: Client) -> None:
    session = anna.session
    session["sign_in"] = {"account": {"id": "1"}, "old": "shape"}
    session.save()
    anna.cookies["seawall"] = session.session_key

    assert anna.get("/").status_code == 200


def test_a_forged_cookie_is_no_sign_in(visitor: Client) -> None:
    visitor.cookies["seawall"] = "eyJzaWduX2luIjoxfQ:1abcde:forged"

    assert visitor.get("/images").headers["Location"].startswith("/sign-in")
