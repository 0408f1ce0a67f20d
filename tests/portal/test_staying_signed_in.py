from __future__ import annotations

import dataclasses
import time
import uuid

import pytest
from django.core import signing
from django.test import Client

from internal import context
from internal.problems import Problem
from tests.portal.fakes import FIREFOX, FakeAuth, FakeImages, stored_image
from tests.portal.pages import png, text_of
from tests.portal.signing_in import COOKIE, account_of, age, other_tab, post_slowly, sign_in_of

PERSONAL = ["/images", "/profile", "/password", "/sessions", "/close-account"]
REFUSED = Problem("invalid_refresh_token", "The refresh token is not valid.")


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
    signed_in = sign_in_of(anna)
    assert signed_in
    assert signed_in.refresh_token == "refresh-2"


def test_a_refused_renewal_signs_out(anna: Client, auth: FakeAuth) -> None:
    age(anna, seconds_left=-1)
    auth.rejects("refresh", REFUSED)

    page = anna.get("/sessions", follow=True)

    assert page.redirect_chain == [("/sign-in?next=%2Fsessions", 302)]
    assert "Please sign in again." in text_of(page)
    assert sign_in_of(anna) is None


def test_too_many_renewals_do_not_sign_out(anna: Client, auth: FakeAuth) -> None:
    age(anna, seconds_left=20)
    auth.rejects("refresh", Problem("too_many_requests", "Slow down.", retry_after=3))

    assert anna.get("/images").status_code == 200
    assert sign_in_of(anna)


def test_a_session_ended_elsewhere_is_noticed(anna: Client, auth: FakeAuth) -> None:
    auth.rejects("account", Problem("invalid_token", "The session has ended."))

    page = anna.get("/profile", follow=True)

    assert page.redirect_chain == [("/sign-in?next=%2Fprofile", 302)]
    assert "Please sign in again." in text_of(page)
    assert sign_in_of(anna) is None


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


@pytest.mark.parametrize("stored", [{"account": {"id": "1"}, "old": "shape"}, {"old": "shape"}, [], "text", None])
def test_a_cookie_of_another_shape_is_no_sign_in(anna: Client, stored: object) -> None:
    anna.cookies[COOKIE] = signing.dumps(stored, salt="portal.sign-in")

    assert anna.get("/").status_code == 200


@pytest.mark.parametrize("value", ["eyJzaWduX2luIjoxfQ:1abcde:forged", "", "::", "\xe9"])
def test_a_forged_cookie_is_no_sign_in(visitor: Client, value: str) -> None:
    visitor.cookies[COOKIE] = value

    assert visitor.get("/images").headers["Location"].startswith("/sign-in")


def test_a_sign_in_made_of_another_signed_cookie_is_none(anna: Client) -> None:
    anna.get("/sessions")
    anna.cookies[COOKIE] = anna.session.session_key

    assert anna.get("/images").headers["Location"].startswith("/sign-in")


# several requests at a time


@pytest.mark.parametrize("seconds_left", [20, 200])
def test_an_upload_that_takes_long_does_not_touch_what_another_tab_renewed(
    anna: Client, auth: FakeAuth, images: FakeImages, seconds_left: int
) -> None:
    age(anna, seconds_left=seconds_left)
    tab = other_tab(anna)

    response = post_slowly(anna, "/images", png(), lambda: tab.get("/images"))

    assert response.status_code == 302
    assert COOKIE not in response.cookies
    assert [call["token"] for call in images.called("upload")] == ["access-1"]
    assert (len(auth.called("refresh")), auth.thefts) == (1, [])
    signed_in = sign_in_of(tab)
    assert signed_in
    assert signed_in.refresh_token == "refresh-2"


def test_an_upload_whose_token_expires_on_the_way_is_sent_again_and_ends_nothing(
    anna: Client, auth: FakeAuth, images: FakeImages
) -> None:
    age(anna, seconds_left=1)
    tab = other_tab(anna)

    def meanwhile() -> None:
        tab.get("/images")
        time.sleep(1.1)

    response = post_slowly(anna, "/images", png(), meanwhile, headers={"accept": "application/json"})

    assert (response.status_code, response.json()["code"]) == (401, "token_expired")
    assert COOKIE not in response.cookies
    assert (images.called("upload"), auth.thefts) == ([], [])
    assert tab.get("/images").status_code == 200


def test_an_upload_that_images_finds_too_late_ends_nothing(anna: Client, images: FakeImages) -> None:
    images.rejects("upload", Problem("token_expired", "The token has expired."))

    page = anna.post("/profile/image", {"image": png()}, follow=True)

    assert page.redirect_chain == [("/profile", 302)]
    assert "Your sign-in had to be renewed before this could be stored. Please send it once more." in text_of(page)
    assert sign_in_of(anna)


@pytest.mark.parametrize(("path", "back"), [("/images", "/images"), ("/profile/image", "/profile")])
def test_an_upload_with_an_expired_token_is_answered_before_its_body_is_read(
    anna: Client, auth: FakeAuth, path: str, back: str
) -> None:
    age(anna, seconds_left=-1)
    read: list[str] = []

    response = post_slowly(anna, path, png(), lambda: read.append("body"))

    assert (response.status_code, response.headers["Location"]) == (302, back)
    assert (read, auth.called("refresh")) == ([], [])
    assert "Please send it once more." in text_of(anna.get(back))
    assert [len(auth.called("refresh")), anna.post(path, {"image": png()}).status_code] == [1, 302]


@pytest.mark.parametrize("path", ["/images", "/profile/image"])
def test_the_body_of_a_visitors_upload_is_not_read(visitor: Client, path: str) -> None:
    read: list[str] = []

    response = post_slowly(visitor, path, png(), lambda: read.append("body"))

    assert (response.headers["Location"], read) == ("/sign-in", [])


def test_what_a_late_request_learns_or_says_does_not_put_old_tokens_back(
    anna: Client, auth: FakeAuth, images: FakeImages
) -> None:
    age(anna, seconds_left=20)
    tab = other_tab(anna)

    late = post_slowly(anna, "/profile/image", png(), lambda: tab.get("/profile"))
    for name, cookie in late.cookies.items():
        tab.cookies[name] = cookie.value

    assert "Your profile image is set." in text_of(tab.get("/profile"))
    assert account_of(tab).avatar_path == images.items[0].avatar_path
    assert tab.get("/sessions").status_code == 200
    assert auth.thefts == []


def test_after_signing_out_a_late_request_brings_nobody_back(anna: Client, images: FakeImages) -> None:
    tab = other_tab(anna)

    late = post_slowly(anna, "/profile/image", png(), lambda: tab.post("/sign-out"))
    for name, cookie in late.cookies.items():
        tab.cookies[name] = cookie.value

    assert sign_in_of(tab) is None


def test_what_was_learnt_of_one_account_is_not_shown_to_another(anna: Client, auth: FakeAuth) -> None:
    anna.post("/profile", {"name": "Anna Strand", "email": "anna@example.org"})
    learnt = anna.cookies["seawall"].value
    auth.person = dataclasses.replace(auth.person, id=uuid.UUID(int=100), name="Bo Lund", email="bo@example.org")
    anna.post("/sign-out")
    anna.post("/sign-in", {"email": "bo@example.org", "password": "seven green boats"})
    anna.cookies["seawall"] = learnt

    assert account_of(anna).name == "Bo Lund"


def test_a_form_is_renewed_before_its_body_is_read(anna: Client, auth: FakeAuth) -> None:
    age(anna, seconds_left=-1)
    renewed: list[int] = []

    response = post_slowly(anna, "/password", png(), lambda: renewed.append(len(auth.called("refresh"))))

    assert (response.status_code, renewed) == (422, [1])
    assert COOKIE in response.cookies


@pytest.mark.parametrize(("seconds_left", "patience"), [(20, 0.7), (-1, context.REQUEST_DEADLINE)])
def test_renewal_leaves_the_page_its_time_while_the_old_token_is_good(
    anna: Client, auth: FakeAuth, seconds_left: int, patience: float
) -> None:
    age(anna, seconds_left=seconds_left)

    anna.get("/sessions")

    assert patience - 0.3 < auth.seconds_left <= patience


@pytest.mark.parametrize(("seconds_left", "renewals"), [(599, 0), (300, 1)])
def test_before_an_image_is_sent_the_token_is_made_good_for_its_way(
    anna: Client, auth: FakeAuth, seconds_left: int, renewals: int
) -> None:
    age(anna, seconds_left=seconds_left)

    response = anna.post("/sign-in/renewal", headers={"accept": "application/json"})

    assert (response.status_code, len(auth.called("refresh"))) == (204, renewals)


@pytest.mark.parametrize(("seconds_left", "status"), [(20, 204), (-1, 503)])
def test_while_auth_is_down_an_upload_goes_on_with_a_living_token(
    anna: Client, auth: FakeAuth, seconds_left: int, status: int
) -> None:
    age(anna, seconds_left=seconds_left)
    auth.is_down()

    response = anna.post("/sign-in/renewal", headers={"accept": "application/json"})

    assert response.status_code == status


def test_a_token_that_expires_while_auth_is_down_ends_nothing(anna: Client, images: FakeImages) -> None:
    images.rejects("list", Problem("token_expired", "The token has expired."))

    page = anna.get("/images")

    assert (page.status_code, "Failed to communicate with Auth service" in text_of(page)) == (503, True)
    assert sign_in_of(anna)
