from __future__ import annotations

import uuid

import pytest
from django.test import Client

from internal.problems import Problem, email_taken
from tests.portal.fakes import NOON, FakeAuth, FakeImages, stored_image
from tests.portal.pages import error_beside, input_named, png, text_file, text_of
from tests.portal.signing_in import account_of, sign_in_of

DETAILS = {"name": "Anna Berg", "email": "anna@example.org", "current_password": ""}
WRONG_PASSWORD = Problem("wrong_password", "The current password is wrong.")


def test_the_profile_shows_name_email_image_and_sign_in_times(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image(5, is_profile_image=True)]

    page = anna.get("/profile")

    words = text_of(page)
    assert "Anna Berg anna@example.org" in words
    assert "This sign-in 22 November 2026, 12:00 UTC The one before never" in words
    avatar = f"http://files.test:8003{images.items[0].avatar_path}"
    assert f'src="{avatar}" alt="Your profile image"' in page.content.decode()
    assert f'<time datetime="{NOON:%Y-%m-%dT%H:%M:%S}Z">' in page.content.decode()


def test_the_profile_without_images_is_limited(anna: Client, images: FakeImages) -> None:
    images.is_down()

    page = anna.get("/profile")

    assert page.status_code == 200
    words = text_of(page)
    assert "This profile is limited at the moment Failed to communicate with Image service." in words
    assert "Sign-in times" in words
    assert "Upload image" not in words


def test_a_new_name_needs_no_password(anna: Client, auth: FakeAuth) -> None:
    page = anna.post("/profile", {**DETAILS, "name": "Anna Strand"}, follow=True)

    assert page.redirect_chain == [("/profile", 302)]
    assert "Your profile is saved." in text_of(page)
    assert auth.called("update_account") == [{"name": "Anna Strand", "email": None, "current_password": None}]
    assert account_of(anna).name == "Anna Strand"


def test_a_new_email_needs_the_current_password(anna: Client, auth: FakeAuth) -> None:
    page = anna.post("/profile", {**DETAILS, "email": "new@example.org"})

    assert page.status_code == 422
    assert error_beside(page, "current_password") == "Enter your current password to change your email."
    assert auth.called("update_account") == []


def test_a_new_email_with_the_password_is_saved(anna: Client, auth: FakeAuth) -> None:
    anna.post("/profile", {**DETAILS, "email": "new@example.org", "current_password": "seven green boats"})

    assert auth.called("update_account") == [
        {"name": "Anna Berg", "email": "new@example.org", "current_password": "seven green boats"}
    ]
    assert account_of(anna).email == "new@example.org"


@pytest.mark.parametrize(
    ("problem", "field", "status"), [(email_taken(), "email", 409), (WRONG_PASSWORD, "current_password", 422)]
)
def test_what_auth_refuses_is_said_beside_the_field(
    anna: Client, auth: FakeAuth, problem: Problem, field: str, status: int
) -> None:
    auth.rejects("update_account", problem)

    page = anna.post("/profile", {**DETAILS, "email": "new@example.org", "current_password": "seven green boats"})

    assert page.status_code == status
    assert error_beside(page, field) == problem.detail
    assert "seven green boats" not in page.content.decode()
    assert 'value="new@example.org"' in input_named(page, "email")


def test_changes_while_auth_is_down_are_not_lost_from_the_form(anna: Client, auth: FakeAuth) -> None:
    auth.is_down()

    page = anna.post("/profile", {**DETAILS, "name": "Anna Strand"})

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    assert "Nothing has been changed. Please try again in 7 seconds." in text_of(page)
    assert 'value="Anna Strand"' in input_named(page, "name")


def test_an_uploaded_profile_image_is_set(anna: Client, images: FakeImages) -> None:
    page = anna.post("/profile/image", {"image": png()}, follow=True)

    assert page.redirect_chain == [("/profile", 302)]
    assert "Your profile image is set." in text_of(page)
    assert images.called("upload") == [{"token": "access-1", "size": 10, "as_profile_image": True}]
    assert account_of(anna).avatar_path == images.items[0].avatar_path


def test_a_bad_profile_image_is_said_beside_the_field(anna: Client) -> None:
    page = anna.post("/profile/image", {"image": text_file()})

    assert page.status_code == 422
    assert error_beside(page, "image") == "This file is not an image that we can read."
    assert 'value="Anna Berg"' in input_named(page, "name")


def test_a_profile_image_while_images_is_down_has_to_wait(anna: Client, images: FakeImages) -> None:
    images.is_down()

    page = anna.post("/profile/image", {"image": png()})

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    assert "Your image has not been stored. Please try again in 7 seconds." in text_of(page)


def test_a_removed_profile_image_stays_in_the_gallery(anna: Client, images: FakeImages) -> None:
    images.items = [stored_image(5, is_profile_image=True)]

    page = anna.post("/profile/image/remove", {"next": f"/images/{uuid.UUID(int=5)}"}, follow=True)

    assert page.redirect_chain == [(f"/images/{uuid.UUID(int=5)}", 302)]
    assert "Set as profile image" in text_of(page)
    assert account_of(anna).avatar_path is None


def test_a_changed_password_is_confirmed(anna: Client, auth: FakeAuth) -> None:
    passwords = {"current_password": "seven green boats", "new_password": "eight red lighthouses"}

    page = anna.post("/password", passwords, follow=True)

    assert page.redirect_chain == [("/profile", 302)]
    assert "Your password is changed." in text_of(page)
    assert auth.called("change_password") == [passwords]


def test_a_wrong_current_password_is_said_beside_it(anna: Client, auth: FakeAuth) -> None:
    auth.rejects("change_password", WRONG_PASSWORD)

    page = anna.post("/password", {"current_password": "wrong", "new_password": "eight red lighthouses"})

    assert page.status_code == 422
    assert error_beside(page, "current_password") == "The current password is wrong."
    assert "eight red lighthouses" not in page.content.decode()


def test_sessions_are_told_in_plain_words(anna: Client) -> None:
    words = text_of(anna.get("/sessions"))

    assert "Firefox on Linux This device Address 192.0.2.7" in words
    assert "Safari on iPhone Address 192.0.2.8" in words


def test_another_session_is_ended(anna: Client, auth: FakeAuth) -> None:
    page = anna.post(f"/sessions/{uuid.UUID(int=2)}/end", follow=True)

    assert page.redirect_chain == [("/sessions", 302)]
    assert "That device is signed out." in text_of(page)
    assert auth.called("end_session") == [{"session_id": uuid.UUID(int=2)}]


def test_the_sessions_page_while_auth_is_down_says_so(anna: Client, auth: FakeAuth) -> None:
    auth.is_down()

    page = anna.get("/sessions")

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    assert "Failed to communicate with Auth service" in text_of(page)


def test_closing_the_account_needs_its_email(anna: Client, auth: FakeAuth) -> None:
    page = anna.post("/close-account", {"email": "other@example.org"})

    assert page.status_code == 422
    assert error_beside(page, "email") == "This is not the email address of this account."
    assert auth.called("close_account") == []


def test_a_closed_account_is_gone(anna: Client, auth: FakeAuth, images: FakeImages) -> None:
    page = anna.post("/close-account", {"email": "Anna@Example.org"}, follow=True)

    assert page.redirect_chain == [("/", 302)]
    assert "Your account is closed." in text_of(page)
    assert (len(auth.called("close_account")), len(images.called("close_account"))) == (1, 1)
    assert sign_in_of(anna) is None


def test_an_account_is_not_closed_while_images_is_down(anna: Client, auth: FakeAuth, images: FakeImages) -> None:
    images.is_down()

    page = anna.post("/close-account", {"email": "anna@example.org"})

    assert page.status_code == 503
    assert "Your account is not closed yet." in text_of(page)
    assert auth.called("close_account") == []
    assert sign_in_of(anna)


def test_what_is_left_of_an_account_that_could_not_be_closed_is_said(
    anna: Client, auth: FakeAuth, images: FakeImages
) -> None:
    auth.is_down()

    page = anna.post("/close-account", {"email": "anna@example.org"})

    assert "Your account is not closed yet, but your images may be removed already." in text_of(page)


@pytest.mark.parametrize(
    ("service", "call", "path", "form", "said"),
    [
        ("auth", "update_account", "/profile", DETAILS, "Your changes may be saved all the same."),
        (
            "auth",
            "change_password",
            "/password",
            {"current_password": "seven green boats", "new_password": "eight red lighthouses"},
            "Your password may be changed all the same.",
        ),
        (
            "auth",
            "close_account",
            "/close-account",
            {"email": "anna@example.org"},
            "Your account may be closed already",
        ),
        ("images", "close_account", "/close-account", {"email": "anna@example.org"}, "and your images removed."),
        ("images", "clear_profile_image", "/profile/image/remove", {}, "It may be done all the same."),
        ("auth", "end_session", f"/sessions/{uuid.UUID(int=2)}/end", {}, "It may be done all the same."),
    ],
)
def test_what_was_asked_for_and_not_confirmed_is_not_called_undone(
    anna: Client,
    auth: FakeAuth,
    images: FakeImages,
    service: str,
    call: str,
    path: str,
    form: dict[str, str],
    said: str,
) -> None:
    {"auth": auth, "images": images}[service].does_not_confirm(call)

    page = anna.post(path, form)

    assert (page.status_code, page.headers["Retry-After"]) == (503, "7")
    words = text_of(page)
    assert f"Failed to communicate with {'Auth' if service == 'auth' else 'Image'} service" in words
    assert said in words
    assert "not been" not in words


def test_a_profile_image_that_is_not_confirmed_may_be_stored(anna: Client, images: FakeImages) -> None:
    images.does_not_confirm("upload")

    page = anna.post("/profile/image", {"image": png()})

    assert page.status_code == 503
    assert "No answer came Failed to communicate with Image service Your image may be stored all the same." in text_of(
        page
    )


def test_while_an_account_is_being_closed_its_image_cannot_be_set(anna: Client, images: FakeImages) -> None:
    images.rejects("upload", Problem("conflict", "This account is being closed."))

    page = anna.post("/profile/image", {"image": png()})

    assert page.status_code == 409
    assert "This account is being closed, so nothing can be added to it. To finish, close it once more." in text_of(
        page
    )
