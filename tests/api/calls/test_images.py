"""The images of a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from internal.contracts import ImagePage
from internal.errors import Rejected, Unavailable
from internal.problems import Problem, image_fault, invalid_field
from tests.api.calls.conftest import IMAGE, IMAGE_ID, IMAGE_JSON, Caller


def picture(content: bytes = b"\x89PNG bytes") -> SimpleUploadedFile:
    return SimpleUploadedFile("me.png", content, content_type="image/png")


def test_a_page_of_images_is_listed(api: Caller, images: Mock, token: str) -> None:
    response = api("GET", "/images")

    assert response.status_code == 200
    assert response.json() == {"items": [IMAGE_JSON], "next_cursor": None, "total": 1}
    assert "Link" not in response
    images.list.assert_called_once_with(token, limit=24)


def test_the_next_page_is_named_in_the_body_and_in_the_link_header(api: Caller, images: Mock) -> None:
    images.list.return_value = ImagePage(items=(IMAGE,), next_cursor="a/b+c=", total=9)

    response = api("GET", "/images?limit=1&cursor=start")

    assert response.json()["next_cursor"] == "a/b+c="
    link = response["Link"]
    assert link.endswith('>; rel="next"')
    target = urlsplit(link.partition(">")[0].removeprefix("<"))
    assert target.path == "/api/v1/images"
    assert parse_qs(target.query) == {"cursor": ["a/b+c="], "limit": ["1"]}
    assert images.list.call_args.kwargs == {"cursor": "start", "limit": 1}


@pytest.mark.parametrize("limit", ["1", "100"])
def test_a_page_has_1_to_100_items(api: Caller, images: Mock, limit: str) -> None:
    assert api("GET", f"/images?limit={limit}").status_code == 200
    assert images.list.call_args.kwargs == {"limit": int(limit)}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "x" * 513, "cursor"),
    ],
)
def test_a_page_that_cannot_be_is_refused(api: Caller, images: Mock, query: str, field: str) -> None:
    response = api("GET", f"/images?{query}")

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
    images.list.assert_not_called()


def test_a_cursor_that_images_does_not_know_is_refused(api: Caller, images: Mock) -> None:
    images.list.side_effect = Rejected("images", invalid_field("cursor", "invalid", "Not a cursor of this list."))

    assert api("GET", "/images?cursor=zzz").status_code == 422


def test_an_image_is_stored_and_has_an_address(api: Caller, images: Mock, token: str) -> None:
    response = api("POST", "/images", form={"image": picture()})

    assert response.status_code == 201
    assert response["Location"] == f"/api/v1/images/{IMAGE_ID}"
    assert response.json() == IMAGE_JSON
    sent_token, _, size = images.upload.call_args.args
    assert (sent_token, size) == (token, 10)
    assert images.upload.call_args.kwargs == {}


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (image_fault("not_an_image", "No."), 422),
        (image_fault("too_many_pixels", "No."), 422),
        (image_fault("too_many_frames", "No."), 422),
        (image_fault("image_too_large", "No."), 413),
        (image_fault("image_quota_exceeded", "No."), 409),
        (Problem("storage_full", "No."), 507),
        (Problem("storage_unavailable", "No.", retry_after=5), 503),
        (Problem("invalid_token", "The account was closed."), 401),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/images"), ("PUT", "/profile/image")])
def test_an_image_that_images_refuses_is_refused(
    api: Caller, images: Mock, problem: Problem, status: int, method: str, path: str
) -> None:
    images.upload.side_effect = Rejected("images", problem)

    response = api(method, path, form={"image": picture()})

    assert response.status_code == status
    assert response.json()["code"] == problem.code


def test_an_upload_without_the_image_service_says_so(api: Caller, images: Mock) -> None:
    images.upload.side_effect = Unavailable("images", "refused")

    response = api("POST", "/images", form={"image": picture()})

    assert response.status_code == 503
    assert response.json()["code"] == "images_unavailable"
    assert response.json()["detail"].startswith("Failed to communicate with Image service")
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/images"), ("PUT", "/profile/image")])
def test_an_upload_takes_exactly_one_file(api: Caller, images: Mock, method: str, path: str) -> None:
    none = api(method, path, form={"other": "text"})
    two = api(method, path, form={"image": [picture(), picture()]})
    stray = api(method, path, form={"image": picture(), "second": picture()})

    assert [(e["field"], e["code"]) for e in none.json()["errors"]] == [("image", "required")]
    assert two.json()["code"] == "one_file_only"
    assert [(e["field"], e["code"]) for e in stray.json()["errors"]] == [("second", "unexpected_file")]
    assert {none.status_code, two.status_code, stray.status_code} == {422}
    images.upload.assert_not_called()


def test_an_empty_file_goes_to_images_which_says_what_it_is(api: Caller, images: Mock) -> None:
    images.upload.side_effect = Rejected("images", image_fault("not_an_image", "The file is empty."))

    response = api("POST", "/images", form={"image": picture(b"")})

    assert response.status_code == 422
    assert images.upload.call_args.args[2] == 0


@pytest.mark.parametrize(("method", "path"), [("POST", "/images"), ("PUT", "/profile/image"), ("POST", "/register")])
def test_a_file_over_10_mib_is_kept_nowhere(
    api: Caller, auth: Mock, images: Mock, settings: Any, tmp_path: Path, method: str, path: str
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    limit = 10 * 1024 * 1024

    assert api(method, path, form={"image": picture(b"x" * (limit + 1))}).json()["code"] == "image_too_large"
    assert api(method, path, form={"image": picture(b"x" * (limit + 200_000))}).status_code == 413
    assert list(tmp_path.iterdir()) == []
    assert images.mock_calls == auth.mock_calls == []


def test_a_file_of_10_mib_is_sent_on(api: Caller, images: Mock) -> None:
    assert api("POST", "/images", form={"image": picture(b"x" * 10 * 1024 * 1024)}).status_code == 201
    assert images.upload.call_args.args[2] == 10 * 1024 * 1024


def test_an_upload_must_be_a_form(api: Caller) -> None:
    response = api("POST", "/images", json={"image": "data:image/png;base64,AAAA"})

    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"


def test_one_image_is_shown(api: Caller, images: Mock, token: str) -> None:
    response = api("GET", f"/images/{IMAGE_ID}")

    assert response.status_code == 200
    assert response.json() == IMAGE_JSON
    images.get.assert_called_once_with(token, IMAGE_ID)


def test_an_image_is_removed(api: Caller, images: Mock, token: str) -> None:
    assert api("DELETE", f"/images/{IMAGE_ID}").status_code == 204
    images.delete.assert_called_once_with(token, IMAGE_ID)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_somebody_elses_image_is_not_found(api: Caller, images: Mock, method: str) -> None:
    problem = Problem("not_found", "There is no such image.")
    images.get.side_effect = images.delete.side_effect = Rejected("images", problem)

    response = api(method, f"/images/{IMAGE_ID}")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_something_that_is_no_id_is_not_found(api: Caller) -> None:
    response = api("GET", "/images/first")

    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"
