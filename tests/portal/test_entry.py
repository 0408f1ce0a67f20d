from __future__ import annotations

import pytest
from django.test import Client

from internal.errors import InvalidReply
from internal.problems import Problem, invalid_field
from portal.sessions import AccountSnapshot
from tests.portal.fakes import FIREFOX, FakeAuth, FakeImages, stored_image
from tests.portal.pages import error_beside, input_named, png, text_file, text_of
from tests.portal.signing_in import COOKIE, sign_in_of

PERSON = {"name": "Anna Berg", "email": "anna@example.org", "password": "seven green boats"}
CREDENTIALS = {"email": "anna@example.org", "password": "seven green boats"}


def test_the_front_page_welcomes_visitors(visitor: Client) -> None:
    page = visitor.get("/")

    assert page.status_code == 200
    assert "Create your account" in text_of(page)


def test_the_front_page_leads_on_who_is_signed_in(anna: Client) -> None:
    assert anna.get("/").headers["Location"] == "/images"


def test_registration_without_an_image_signs_in(visitor: Client, auth: FakeAuth, images: FakeImages) -> None:
    response = visitor.post("/register", PERSON)

    assert (response.status_code, response.headers["Location"]) == (302, "/images")
    assert auth.called("register") == [PERSON]
    assert auth.called("sign_in") == [{**CREDENTIALS, "device": FIREFOX, "address": "127.0.0.1"}]
    assert images.calls == []
    signed_in = sign_in_of(visitor)
    assert signed_in
    assert signed_in.account == AccountSnapshot(str(auth.person.id), "Anna Berg", "anna@example.org", None)


def test_registration_with_an_image_has_it_as_profile_image(visitor: Client, images: FakeImages) -> None:
    response = visitor.post("/register", {**PERSON, "image": png()})

    assert response.headers["Location"] == "/images"
    signed_in = sign_in_of(visitor)
    assert signed_in
    assert signed_in.account.avatar_path == images.items[0].avatar_path


def test_a_bad_image_registers_nobody_and_the_field_says_why(visitor: Client, auth: FakeAuth) -> None:
    page = visitor.post("/register", {**PERSON, "image": text_file()})

    assert page.status_code == 422
    assert error_beside(page, "image") == "This file is not an image that we can read."
    assert 'value="Anna Berg"' in input_named(page, "name")
    assert "seven green boats" not in page.content.decode()
    assert auth.calls == []
    assert sign_in_of(visitor) is None


def test_two_images_are_one_too_many(visitor: Client, auth: FakeAuth) -> None:
    page = visitor.post("/register", {**PERSON, "image": [png("a.png"), png("b.png")]})

    assert page.status_code == 422
    assert error_beside(page, "image") == "Send one file only."
    assert auth.calls == []


def test_an_empty_file_is_no_image(visitor: Client) -> None:
    page = visitor.post("/register", {**PERSON, "image": png(content=b"")})

    assert page.status_code == 422
    assert error_beside(page, "image") == "This file is empty."


def test_without_the_image_store_the_account_is_made_and_the_page_says_what_is_missing(
    visitor: Client, auth: FakeAuth, images: FakeImages
) -> None:
    images.is_down()

    page = visitor.post("/register", {**PERSON, "image": png()}, follow=True)

    assert page.redirect_chain == [("/profile", 302)]
    assert len(auth.called("register")) == 1
    words = text_of(page)
    assert "Your profile image is missing: Failed to communicate with Image service. Add your profile image" in words
    assert '<a href="/profile#profile-image">' in page.content.decode()


def test_when_signing_in_after_registration_fails_the_account_is_still_there(visitor: Client, auth: FakeAuth) -> None:
    auth.fails("sign_in", InvalidReply("auth", "no JSON"))

    page = visitor.post("/register", PERSON, follow=True)

    assert page.redirect_chain == [("/sign-in", 302)]
    assert "Your account is ready. Sign in to use it." in text_of(page)


def test_registration_while_auth_is_down_keeps_the_form_but_not_the_password(visitor: Client, auth: FakeAuth) -> None:
    auth.is_down()

    page = visitor.post("/register", {**PERSON, "image": png()})

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    words = text_of(page)
    assert "Failed to communicate with Auth service" in words
    assert "No account has been made. Please try again in 7 seconds." in words
    assert "Please choose your image again." in words
    assert 'value="anna@example.org"' in input_named(page, "email")
    assert "seven green boats" not in page.content.decode()


def test_a_registration_that_is_not_confirmed_is_not_called_undone(visitor: Client, auth: FakeAuth) -> None:
    auth.does_not_confirm("register")

    page = visitor.post("/register", PERSON)

    assert page.status_code == 503
    words = text_of(page)
    assert "Failed to communicate with Auth service" in words
    assert "Your account may have been made all the same. Try to sign in; if that fails, register once more." in words
    assert "No account has been made" not in words


def test_a_taken_email_is_said_beside_the_field(visitor: Client) -> None:
    page = visitor.post("/register", {**PERSON, "email": "taken@example.org"})

    assert page.status_code == 409
    assert error_beside(page, "email") == "There is already an account with this email address."


def test_what_auth_says_of_a_password_is_said_beside_it(visitor: Client, auth: FakeAuth) -> None:
    auth.rejects("register", invalid_field("password", "too_common", "This password is too common."))

    page = visitor.post("/register", PERSON)

    assert page.status_code == 422
    assert error_beside(page, "password") == "This password is too common."


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("name", "", "Enter your name."),
        ("name", "a" * 101, "Ensure this value has at most 100 characters (it has 101)."),
        ("name", "An\x00na", "Null characters are not allowed."),
        ("email", "anna", "Enter an email address such as anna@example.org."),
        ("email", "a" * 250 + "@example.org", "Ensure this value has at most 254 characters (it has 262)."),
        ("password", "short", "Ensure this value has at least 8 characters (it has 5)."),
        ("password", "p" * 1025, "Ensure this value has at most 1024 characters (it has 1025)."),
        ("password", "nul\x00nul\x00nul", "Null characters are not allowed."),
    ],
)
def test_bad_input_is_refused_beside_its_field(
    visitor: Client, auth: FakeAuth, field: str, value: str, error: str
) -> None:
    page = visitor.post("/register", {**PERSON, field: value})

    assert page.status_code == 422
    assert error in error_beside(page, field)
    assert auth.calls == []


@pytest.mark.parametrize("path", ["/register", "/sign-in"])
def test_text_that_is_not_utf_8_is_refused(visitor: Client, auth: FakeAuth, path: str) -> None:
    body = "name=%FF%FE&email=a%40example.org&password=long%FFenough"

    page = visitor.post(path, body, content_type="application/x-www-form-urlencoded")

    assert page.status_code == 422
    assert error_beside(page, "password") == "This text contains characters that cannot be read."
    assert auth.calls == []


def test_an_error_summary_takes_the_focus_and_leads_to_the_fields(visitor: Client) -> None:
    html = visitor.post("/sign-in", {}).content.decode()

    assert '<div class="notice notice--error error-summary" role="alert" tabindex="-1" autofocus>' in html
    assert '<a href="#id_email">Email: Enter your email address.</a>' in html
    assert "<title>Error: Sign in" in html


def test_sign_in_remembers_the_person_in_a_cookie_that_scripts_cannot_read(
    visitor: Client, auth: FakeAuth, images: FakeImages
) -> None:
    images.items = [stored_image(5, is_profile_image=True)]

    response = visitor.post("/sign-in", CREDENTIALS)

    assert (response.status_code, response.headers["Location"]) == (302, "/images")
    cookie = response.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", 30 * 86400)
    signed_in = sign_in_of(visitor)
    assert signed_in
    assert signed_in.refresh_token == "refresh-1"
    assert signed_in.account == AccountSnapshot(
        str(auth.person.id), "Anna Berg", "anna@example.org", images.items[0].avatar_path
    )


def test_the_longest_possible_account_fits_into_a_cookie(visitor: Client, auth: FakeAuth) -> None:
    auth.person = type(auth.person)(
        auth.person.id, "👩‍🚀🌊" * 25, f"{'e' * 242}@example.org", auth.person.created_at, None, None
    )
    assert len(auth.person.name) == 100

    visitor.post("/sign-in", CREDENTIALS)

    assert len(visitor.cookies[COOKIE].OutputString()) < 3000  # leaves 1,000 for a real token


def test_sign_in_starts_a_new_session_and_a_new_csrf_secret(visitor: Client) -> None:
    visitor.get("/sign-in")
    planted = visitor.session
    planted["planted"] = "by somebody else"
    planted.save()
    visitor.cookies["seawall"] = planted.session_key
    old_secret = visitor.cookies["csrf"].value

    visitor.post("/sign-in", CREDENTIALS)

    assert "planted" not in visitor.session
    assert sign_in_of(visitor)
    assert visitor.cookies["csrf"].value != old_secret


def test_wrong_credentials_are_said_above_the_form(visitor: Client, auth: FakeAuth) -> None:
    auth.rejects("sign_in", Problem("invalid_credentials", "Email or password is wrong."))

    page = visitor.post("/sign-in", CREDENTIALS)

    assert page.status_code == 401
    assert "Email or password is wrong." in text_of(page)
    assert 'value="anna@example.org"' in input_named(page, "email")
    assert sign_in_of(visitor) is None


def test_a_locked_account_is_told_when_to_come_back(visitor: Client, auth: FakeAuth) -> None:
    auth.rejects("sign_in", Problem("account_locked", "Too many attempts.", retry_after=300))

    page = visitor.post("/sign-in", CREDENTIALS)

    assert (page.status_code, page.headers["Retry-After"]) == (429, "300")
    assert "Too many attempts. Please try again in 5 minutes." in text_of(page)


def test_sign_in_while_auth_is_down_keeps_the_email(visitor: Client, auth: FakeAuth) -> None:
    auth.is_down()

    page = visitor.post("/sign-in?next=/profile", CREDENTIALS)

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    assert "Failed to communicate with Auth service" in text_of(page)
    assert 'value="anna@example.org"' in input_named(page, "email")
    assert 'value="/profile"' in input_named(page, "next")
    assert "seven green boats" not in page.content.decode()


def test_sign_in_works_while_images_is_down(visitor: Client, images: FakeImages) -> None:
    images.is_down()

    assert visitor.post("/sign-in", {**CREDENTIALS, "next": "/profile"}).headers["Location"] == "/profile"
    assert sign_in_of(visitor)


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/profile", "/profile"),
        ("/images?cursor=abc", "/images?cursor=abc"),
        ("https://evil.example/", "/images"),
        ("//evil.example/", "/images"),
        ("/\\evil.example", "/images"),
        ("javascript:alert(1)", "/images"),
        ("\x00https://evil.example/", "/images"),
        ("", "/images"),
    ],
)
def test_next_never_leads_out_of_the_portal(visitor: Client, wanted: str, leads_to: str) -> None:
    assert visitor.post("/sign-in", {**CREDENTIALS, "next": wanted}).headers["Location"] == leads_to


def test_the_sign_in_page_leads_on_who_is_signed_in_already(anna: Client) -> None:
    assert anna.get("/sign-in?next=/sessions").headers["Location"] == "/sessions"
    assert anna.get("/register").headers["Location"] == "/images"


def test_sign_out_ends_the_session_here_and_at_auth(anna: Client, auth: FakeAuth) -> None:
    page = anna.post("/sign-out", follow=True)

    assert page.redirect_chain == [("/", 302)]
    assert "You are signed out." in text_of(page)
    assert auth.called("sign_out") == [{"refresh_token": "refresh-1"}]
    assert (anna.cookies[COOKIE].value, dict(anna.session.items())) == ("", {})
    assert sign_in_of(anna) is None


def test_sign_out_works_while_auth_is_down_and_is_honest_about_it(anna: Client, auth: FakeAuth) -> None:
    auth.is_down()

    page = anna.post("/sign-out", follow=True)

    assert "You are signed out on this device. The Auth service did not answer" in text_of(page)
    assert sign_in_of(anna) is None


def test_signing_out_takes_a_form_and_not_a_link(anna: Client) -> None:
    page = anna.get("/sign-out")

    assert (page.status_code, page.headers["Allow"]) == (405, "POST")
    assert "This address works differently" in text_of(page)
    assert sign_in_of(anna)
