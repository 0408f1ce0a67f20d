"""Registration and the profile."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from internal.contracts import StoredImage
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.problems import FieldError, Problem, email_taken, image_fault, invalid_field
from tests.api.calls.conftest import ACCOUNT, ACCOUNT_ID, IMAGE, IMAGE_ID, IMAGE_JSON, PROFILE_JSON, Caller

PERSON = {"name": "Ada Lovelace", "email": "ada@example.org", "password": "correct horse battery"}


def picture(name: str = "me.png", content: bytes = b"\x89PNG bytes") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, content_type="image/png")


# --- register ---


def test_registration_with_json_makes_an_account_and_says_where_the_profile_is(api: Caller, auth: Mock) -> None:
    response = api("POST", "/register", json=PERSON, token=None)

    assert response.status_code == 201
    assert response["Location"] == "/api/v1/profile"
    assert response.json() == PROFILE_JSON | {"image": None, "notice": None}
    auth.register.assert_called_once_with(**PERSON)


def test_registration_with_a_form_needs_no_image(api: Caller, auth: Mock, images: Mock) -> None:
    response = api("POST", "/register", form=PERSON, token=None)

    assert response.status_code == 201
    auth.register.assert_called_once_with(**PERSON)
    images.validate.assert_not_called()


def test_registration_with_an_image_shows_it_in_the_profile(api: Caller, images: Mock) -> None:
    response = api("POST", "/register", form=PERSON | {"image": picture()}, token=None)

    assert response.status_code == 201
    assert response.json() == PROFILE_JSON | {"notice": None}
    assert images.upload_for.call_args.args[0] == ACCOUNT_ID


@pytest.mark.parametrize(
    ("code", "status"),
    [("not_an_image", 422), ("too_many_pixels", 422), ("too_many_frames", 422), ("image_too_large", 413)],
)
def test_registration_with_a_bad_image_registers_nothing(
    api: Caller, auth: Mock, images: Mock, code: str, status: int
) -> None:
    images.validate.side_effect = Rejected("images", image_fault(code, "Choose another file."))

    response = api("POST", "/register", form=PERSON | {"image": picture()}, token=None)

    assert response.status_code == status
    assert response.json()["code"] == code
    assert response.json()["errors"] == [{"field": "image", "code": code, "message": "Choose another file."}]
    auth.register.assert_not_called()


@pytest.mark.parametrize("when", ["validate", "upload_for"])
@pytest.mark.parametrize("error", [Unavailable("images", "refused"), InvalidReply("images", "html")])
def test_registration_without_the_image_service_makes_the_account_and_says_what_is_missing(
    api: Caller, auth: Mock, images: Mock, when: str, error: Exception
) -> None:
    getattr(images, when).side_effect = error

    response = api("POST", "/register", form=PERSON | {"image": picture()}, token=None)

    assert response.status_code == 201
    assert response.json() == PROFILE_JSON | {
        "image": None,
        "limited": ["image"],
        "notice": (
            "The account was made without its image. Failed to communicate with Image service. "
            "To add it later, sign in and send it again: PUT /api/v1/profile/image."
        ),
    }
    auth.register.assert_called_once_with(**PERSON)


def test_registration_says_so_when_the_store_is_full(api: Caller, images: Mock) -> None:
    images.upload_for.side_effect = Rejected("images", Problem("storage_full", "The image store is full."))

    response = api("POST", "/register", form=PERSON | {"image": picture()}, token=None)

    assert response.status_code == 201
    assert response.json()["limited"] == ["image"]
    assert "The image store is full." in response.json()["notice"]


def test_registration_with_a_taken_email_is_a_conflict(api: Caller, auth: Mock) -> None:
    auth.register.side_effect = Rejected("auth", email_taken())

    response = api("POST", "/register", json=PERSON, token=None)

    assert response.status_code == 409
    assert response.json()["code"] == "email_taken"
    assert [error["field"] for error in response.json()["errors"]] == ["email"]


def test_registration_passes_on_what_auth_says_about_the_password(api: Caller, auth: Mock) -> None:
    auth.register.side_effect = Rejected("auth", invalid_field("password", "too_common", "Too common."))

    response = api("POST", "/register", json=PERSON, token=None)

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "password", "code": "too_common", "message": "Too common."}]


def test_registration_without_the_auth_service_says_which_service_and_when_to_retry(api: Caller, auth: Mock) -> None:
    auth.register.side_effect = Unavailable("auth", "refused", retry_after=7)

    response = api("POST", "/register", json=PERSON, token=None)

    assert response.status_code == 503
    assert response["Retry-After"] == "7"
    assert response.json()["code"] == "auth_unavailable"
    assert response.json()["detail"].startswith("Failed to communicate with Auth service")


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"name": None}, "name", "null"),
        ({"name": 7}, "name", "invalid"),
        ({"name": ["Ada"]}, "name", "invalid"),
        ({"name": {"first": "Ada"}}, "name", "invalid"),
        ({"name": True}, "name", "invalid"),
        ({"name": ""}, "name", "blank"),
        ({"name": "   "}, "name", "blank"),
        ({"name": "a" * 101}, "name", "max_length"),
        ({"name": "Ada\x00"}, "name", "null_characters_not_allowed"),
        ({"name": "Ada\ud800"}, "name", "surrogate_characters_not_allowed"),
        ({"email": 1.5}, "email", "invalid"),
        ({"email": "nobody"}, "email", "invalid"),
        ({"email": "a" * 250 + "@example.org"}, "email", "max_length"),
        ({"password": 12345678}, "password", "invalid"),
        ({"password": "short"}, "password", "min_length"),
        ({"password": "x" * 1025}, "password", "max_length"),
        ({"password": "pass\x00word"}, "password", "null_characters_not_allowed"),
    ],
)
def test_registration_names_the_field_that_is_wrong(
    api: Caller, auth: Mock, change: dict[str, Any], field: str, code: str
) -> None:
    response = api("POST", "/register", json=PERSON | change, token=None)

    assert response.status_code == 422
    assert response.json()["code"] == "invalid_input"
    assert (field, code) in [(error["field"], error["code"]) for error in response.json()["errors"]]
    auth.register.assert_not_called()


def test_registration_names_every_field_that_is_missing(api: Caller) -> None:
    response = api("POST", "/register", json={}, token=None)

    assert response.status_code == 422
    assert {(e["field"], e["code"]) for e in response.json()["errors"]} == {
        ("name", "required"),
        ("email", "required"),
        ("password", "required"),
    }


def test_a_password_keeps_the_white_space_at_its_ends(api: Caller, auth: Mock) -> None:
    api("POST", "/register", json=PERSON | {"password": "  spaced out  "}, token=None)

    assert auth.register.call_args.kwargs["password"] == "  spaced out  "


def test_two_files_in_one_field_are_refused(api: Caller, auth: Mock) -> None:
    response = api("POST", "/register", form=PERSON | {"image": [picture(), picture()]}, token=None)

    assert response.status_code == 422
    assert response.json()["code"] == "one_file_only"
    assert [error["field"] for error in response.json()["errors"]] == ["image"]
    auth.register.assert_not_called()


def test_a_file_in_a_field_that_takes_none_is_refused(api: Caller, auth: Mock) -> None:
    response = api("POST", "/register", form=PERSON | {"portrait": picture()}, token=None)

    assert response.status_code == 422
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [("portrait", "unexpected_file")]
    auth.register.assert_not_called()


def test_text_in_the_field_for_the_file_is_refused(api: Caller) -> None:
    response = api("POST", "/register", form=PERSON | {"image": "me.png"}, token=None)

    assert response.status_code == 422
    assert [(e["field"], e["code"]) for e in response.json()["errors"]] == [("image", "invalid")]


# --- GET profile ---


def test_the_profile_has_what_both_services_know(api: Caller, auth: Mock, images: Mock, token: str) -> None:
    response = api("GET", "/profile")

    assert response.status_code == 200
    assert response.json() == PROFILE_JSON
    auth.account.assert_called_once_with(token)
    images.profile_image.assert_called_once_with(token)


def test_a_profile_without_an_image_is_not_limited(api: Caller, images: Mock) -> None:
    images.profile_image.return_value = None

    assert api("GET", "/profile").json() == PROFILE_JSON | {"image": None}


def test_the_profile_without_the_image_service_is_limited(api: Caller, images: Mock) -> None:
    images.profile_image.side_effect = Unavailable("images", "refused")

    response = api("GET", "/profile")

    assert response.status_code == 200
    assert response.json() == PROFILE_JSON | {"image": None, "limited": ["image"]}


def test_the_profile_without_the_auth_service_has_the_id_of_the_token_and_the_image(api: Caller, auth: Mock) -> None:
    auth.account.side_effect = Unavailable("auth", "refused")

    response = api("GET", "/profile")

    assert response.status_code == 200
    assert response.json() == dict.fromkeys(PROFILE_JSON) | {
        "id": str(ACCOUNT_ID),
        "image": IMAGE_JSON,
        "limited": ["account"],
    }


def test_the_profile_without_any_service_has_the_id_of_the_token(api: Caller, auth: Mock, images: Mock) -> None:
    auth.account.side_effect = Unavailable("auth", "refused")
    images.profile_image.side_effect = Unavailable("images", "refused")

    assert api("GET", "/profile").json() == dict.fromkeys(PROFILE_JSON) | {
        "id": str(ACCOUNT_ID),
        "limited": ["account", "image"],
    }


def test_the_profile_of_a_session_that_has_ended_is_not_shown(api: Caller, auth: Mock) -> None:
    auth.account.side_effect = Rejected("auth", Problem("invalid_token", "The session has ended."))

    response = api("GET", "/profile")

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_token"


# --- PATCH profile ---


def test_changes_go_to_auth_and_the_new_profile_comes_back(api: Caller, auth: Mock, token: str) -> None:
    response = api("PATCH", "/profile", json={"name": " Ada King ", "unknown": 1})

    assert response.status_code == 200
    assert response.json() == PROFILE_JSON
    auth.update_account.assert_called_once_with(token, name="Ada King")


def test_a_new_email_goes_with_the_current_password(api: Caller, auth: Mock, token: str) -> None:
    api("PATCH", "/profile", json={"email": "new@example.org", "current_password": "secret word"})

    auth.update_account.assert_called_once_with(token, email="new@example.org", current_password="secret word")


def test_a_change_is_answered_even_if_the_image_service_is_down(api: Caller, images: Mock) -> None:
    images.profile_image.side_effect = Unavailable("images", "refused")

    response = api("PATCH", "/profile", json={"name": "Ada"})

    assert response.status_code == 200
    assert response.json() == PROFILE_JSON | {"image": None, "limited": ["image"]}


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (email_taken(), 409),
        (Problem("wrong_password", "It is wrong.", (FieldError("current_password", "wrong_password", "No."),)), 422),
        (invalid_field("current_password", "required", "Needed to change the email."), 422),
        (Problem("account_locked", "Too many attempts.", retry_after=30), 429),
    ],
)
def test_changes_that_auth_refuses_are_refused(api: Caller, auth: Mock, problem: Problem, status: int) -> None:
    auth.update_account.side_effect = Rejected("auth", problem)

    response = api("PATCH", "/profile", json={"email": "b@example.org"})

    assert response.status_code == status
    assert response.json()["code"] == problem.code


@pytest.mark.parametrize("change", [{"name": None}, {"name": ""}, {"email": "no"}, {"email": None}, {"name": 3}])
def test_changes_of_the_wrong_form_do_not_reach_auth(api: Caller, auth: Mock, change: dict[str, Any]) -> None:
    assert api("PATCH", "/profile", json=change).status_code == 422
    auth.update_account.assert_not_called()


# --- DELETE profile ---


def test_closing_the_account_reaches_both_services(api: Caller, auth: Mock, images: Mock, token: str) -> None:
    response = api("DELETE", "/profile")

    assert response.status_code == 204
    images.close_account.assert_called_once_with(token)
    auth.close_account.assert_called_once_with(token)


@pytest.mark.parametrize("service", ["auth", "images"])
def test_closing_the_account_needs_both_services(api: Caller, auth: Mock, images: Mock, service: str) -> None:
    {"auth": auth, "images": images}[service].close_account.side_effect = Unavailable(service, "refused")

    response = api("DELETE", "/profile")

    assert response.status_code == 503
    assert response.json()["code"] == f"{service}_unavailable"


# --- the profile image ---


def test_a_new_image_becomes_the_profile_image(api: Caller, images: Mock, token: str) -> None:
    sent: list[bytes] = []

    def upload(token: str, body: Any, size: int, *, as_profile_image: bool = False) -> StoredImage:
        assert as_profile_image
        assert size == len(b"\x89PNG bytes")
        sent.append(body.read())
        return IMAGE

    images.upload.side_effect = upload

    response = api("PUT", "/profile/image", form={"image": picture()})

    assert response.status_code == 201
    assert response["Location"] == f"/api/v1/images/{IMAGE_ID}"
    assert response.json() == IMAGE_JSON
    assert sent == [b"\x89PNG bytes"]


def test_a_stored_image_becomes_the_profile_image(api: Caller, images: Mock, token: str) -> None:
    response = api("PUT", "/profile/image", json={"image_id": str(IMAGE_ID)})

    assert response.status_code == 200
    assert response.json() == IMAGE_JSON
    images.set_profile_image.assert_called_once_with(token, IMAGE_ID)


def test_somebody_elses_image_cannot_become_the_profile_image(api: Caller, images: Mock) -> None:
    images.set_profile_image.side_effect = Rejected("images", Problem("not_found", "There is no such image."))

    assert api("PUT", "/profile/image", json={"image_id": str(IMAGE_ID)}).status_code == 404


@pytest.mark.parametrize("value", [None, "", "not-an-id", 7, [], {"id": 1}, True])
def test_a_profile_image_that_is_no_id_is_refused(api: Caller, value: Any) -> None:
    response = api("PUT", "/profile/image", json={"image_id": value})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["image_id"]


def test_removing_the_profile_image_leaves_the_account_without_one(api: Caller, images: Mock, token: str) -> None:
    assert api("DELETE", "/profile/image").status_code == 204
    images.clear_profile_image.assert_called_once_with(token)


def test_the_account_that_is_shown_is_the_one_of_the_token(api: Caller) -> None:
    assert api("GET", "/profile").json()["id"] == str(ACCOUNT.id)
