"""The internal API: who may call what, what bad input is answered, and what good input."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError, connection
from rest_framework.test import APIClient

from images import limits
from images.models import Image
from tests.images.conftest import BODY_TYPE, Person, access_token, signature_of, signed_post
from tests.images.pictures import corners, png_header, saved

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]

PNG = saved(corners(), "PNG")
BASE = "/internal/v1"


def uploaded(person: Person, query: str = "") -> dict[str, Any]:
    answer = person.upload(PNG, query)
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def assert_problem(answer: Any, status: int, code: str, field: str | None = None) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-ID"]
    if field is not None:
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_an_upload_is_answered_with_the_stored_image(person: Person) -> None:
    image = uploaded(person)

    assert image == {
        "id": image["id"],
        "content_type": "image/png",
        "width": 40,
        "height": 24,
        "size_bytes": image["size_bytes"],
        "animated": False,
        "created_at": image["created_at"],
        "is_profile_image": False,
        "path": f"/uploads/{image['id']}.png",
        "avatar_path": f"/uploads/{image['id']}.avatar.webp",
        "card_path": f"/uploads/{image['id']}.card.webp",
    }
    assert image["created_at"].endswith("Z")
    assert person.client.get(f"{BASE}/images/{image['id']}").json() == image
    assert person.client.get(f"{BASE}/images").json() == {"items": [image], "next_cursor": None, "total": 1}


def test_an_image_is_gone_after_its_deletion(person: Person, stored: Any) -> None:
    image = uploaded(person)

    answer = person.client.delete(f"{BASE}/images/{image['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(person.client.get(f"{BASE}/images/{image['id']}"), 404, "not_found")
    assert stored() == set()


def test_a_profile_image_is_chosen_replaced_and_cleared(person: Person) -> None:
    assert person.client.get(f"{BASE}/profile-image").status_code == 204
    first, second = uploaded(person, "?profile=true"), uploaded(person)
    assert first["is_profile_image"]
    assert person.client.get(f"{BASE}/profile-image").json() == first

    answer = person.client.put(f"{BASE}/profile-image", {"image_id": second["id"]})

    assert answer.json() == second | {"is_profile_image": True}
    assert person.client.get(f"{BASE}/profile-image").json() == answer.json()
    assert person.client.delete(f"{BASE}/profile-image").status_code == 204
    assert person.client.get(f"{BASE}/profile-image").status_code == 204
    assert person.client.get(f"{BASE}/images").json()["total"] == 2


def test_a_closed_account_keeps_nothing_and_can_store_nothing(person: Person, stored: Any) -> None:
    uploaded(person)

    assert person.client.delete(f"{BASE}/account").status_code == 204

    assert_problem(person.upload(PNG), 409, "conflict")
    assert stored() == set()


def owner_calls(image_id: UUID | str) -> list[tuple[str, str, Any]]:
    return [
        ("get", f"{BASE}/images", None),
        ("post", f"{BASE}/images", PNG),
        ("get", f"{BASE}/images/{image_id}", None),
        ("delete", f"{BASE}/images/{image_id}", None),
        ("get", f"{BASE}/profile-image", None),
        ("put", f"{BASE}/profile-image", {"image_id": str(image_id)}),
        ("delete", f"{BASE}/profile-image", None),
        ("delete", f"{BASE}/account", None),
    ]


def call(client: APIClient, method: str, path: str, body: Any) -> Any:
    if isinstance(body, bytes):
        return getattr(client, method)(path, data=body, content_type=BODY_TYPE)
    return getattr(client, method)(path, body)


@pytest.mark.parametrize("number", range(8))
def test_nobody_gets_anything_without_a_good_token(person: Person, number: int, stored: Any) -> None:
    image = uploaded(person, "?profile=true")
    before = stored()
    method, path, body = owner_calls(image["id"])[number]

    for token, code in (
        (None, "unauthenticated"),
        ("not.a.token", "invalid_token"),
        (access_token(person.id)[:-4] + "AAAA", "invalid_token"),
        (access_token(person.id, lifetime=-60), "token_expired"),
    ):
        client = APIClient(headers={"Authorization": f"Bearer {token}"} if token else {})
        assert_problem(call(client, method, path, body), 401, code)

    assert stored() == before
    assert person.client.get(f"{BASE}/profile-image").json() == image


def test_a_stranger_finds_none_of_the_images_of_another(person: Person, stranger: Person, stored: Any) -> None:
    image = uploaded(person, "?profile=true")
    path = f"{BASE}/images/{image['id']}"

    assert_problem(stranger.client.get(path), 404, "not_found")
    assert_problem(stranger.client.delete(path), 404, "not_found")
    assert_problem(stranger.client.put(f"{BASE}/profile-image", {"image_id": image["id"]}), 404, "not_found")
    assert stranger.client.get(f"{BASE}/profile-image").status_code == 204
    assert stranger.client.get(f"{BASE}/images").json() == {"items": [], "next_cursor": None, "total": 0}
    assert stranger.client.delete(f"{BASE}/account").status_code == 204

    assert person.client.get(path).json() == image
    assert len(stored()) == 3


def test_a_signature_opens_no_call_that_needs_a_token_and_a_token_none_that_needs_a_signature(person: Person) -> None:
    assert_problem(signed_post(f"{BASE}/images", PNG), 401, "unauthenticated")
    for path in (f"{BASE}/validate", f"{BASE}/accounts/{person.id}/images"):
        answer = person.client.post(path, data=PNG, content_type=BODY_TYPE)
        assert_problem(answer, 401, "invalid_signature")


def test_a_signed_dry_run_says_whether_an_image_would_be_stored(stored: Any) -> None:
    assert signed_post(f"{BASE}/validate", PNG).status_code == 204
    assert_problem(signed_post(f"{BASE}/validate", b"text"), 422, "not_an_image", "image")
    assert stored() == set()


def test_a_signed_upload_becomes_the_profile_image_of_the_account(person: Person) -> None:
    answer = signed_post(f"{BASE}/accounts/{person.id}/images", PNG)

    assert answer.status_code == 201
    assert answer.json()["is_profile_image"]
    assert person.client.get(f"{BASE}/profile-image").json() == answer.json()


def test_a_signed_upload_that_is_sent_again_is_refused_and_stores_nothing_more(person: Person, stored: Any) -> None:
    path = f"{BASE}/accounts/{person.id}/images"
    headers = signature_of(path, PNG)
    first, again = (APIClient().post(path, data=PNG, content_type=BODY_TYPE, headers=headers) for _ in range(2))

    assert first.status_code == 201
    assert_problem(again, 401, "invalid_signature")
    assert Image.objects.count() == 1


def test_a_body_other_than_the_signed_one_is_refused(person: Person, stored: Any) -> None:
    for path in (f"{BASE}/validate", f"{BASE}/accounts/{person.id}/images"):
        assert_problem(signed_post(path, PNG, signed_data=PNG + b"x"), 401, "invalid_signature")
    assert stored() == set()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"just text", 422, "not_an_image"),
        (b"<svg/>", 422, "not_an_image"),
        (PNG[:70], 422, "not_an_image"),
        (png_header(50_000, 50_000), 422, "too_many_pixels"),
        (PNG + bytes(10 * 1024 * 1024), 413, "image_too_large"),
    ],
    ids=["text", "svg", "half", "bomb", "too large"],
)
def test_a_bad_image_is_refused_on_the_field(person: Person, stored: Any, data: bytes, status: int, code: str) -> None:
    assert_problem(person.upload(data), status, code, "image")
    assert stored() == set()


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x", "text/plain", "junk"])
def test_a_body_of_another_type_is_refused(person: Person, content_type: str) -> None:
    answer = person.client.generic("POST", f"{BASE}/images", PNG, content_type=content_type)

    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=%00", "cursor"),
        (f"cursor={'A' * 500}", "cursor"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
    ],
)
def test_a_bad_question_to_the_list_is_refused_on_its_field(person: Person, query: str, field: str) -> None:
    assert_problem(person.client.get(f"{BASE}/images?{query}"), 422, "invalid_input", field)


@pytest.mark.parametrize("body", [{}, {"image_id": ""}, {"image_id": "x"}, {"image_id": None}, {"image_id": [1]}])
def test_a_bad_choice_of_a_profile_image_is_refused_on_its_field(person: Person, body: dict[str, Any]) -> None:
    assert_problem(person.client.put(f"{BASE}/profile-image", body), 422, "invalid_input", "image_id")


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"{", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(person: Person, body: bytes) -> None:
    answer = person.client.put(f"{BASE}/profile-image", data=body, content_type="application/json")

    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"malformed_request", "invalid_input"}


def test_unknown_ids_addresses_and_methods_are_refused(person: Person) -> None:
    assert_problem(person.client.get(f"{BASE}/images/{uuid4()}"), 404, "not_found")
    assert_problem(person.client.get(f"{BASE}/images/not-an-id"), 404, "not_found")
    assert_problem(person.client.get(f"{BASE}/images/"), 404, "not_found")
    assert_problem(person.client.patch(f"{BASE}/images", {}), 405, "method_not_allowed")


@pytest.mark.parametrize("count", [1, 12])
def test_the_list_takes_two_queries_at_one_and_at_many(
    person: Person, count: int, django_assert_num_queries: Any
) -> None:
    for _ in range(count):
        uploaded(person)

    with django_assert_num_queries(2):
        answer = person.client.get(f"{BASE}/images")

    assert len(answer.json()["items"]) == count


def test_status_says_how_the_role_is_doing() -> None:
    answer = APIClient().get(f"{BASE}/status")

    assert answer.json() == {
        "service": "images",
        "version": "unreleased",
        "commit": "unknown",
        "database": "up",
        "storage": "up",
    }


def test_a_database_that_is_away_is_named_and_nothing_is_left_behind(
    person: Person, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any, **options: Any) -> Any:
        raise OperationalError("connection refused")

    monkeypatch.setattr(connection, "cursor", away)
    upload, listing, status = (
        person.upload(PNG),
        person.client.get(f"{BASE}/images"),
        APIClient().get(f"{BASE}/status"),
    )
    monkeypatch.undo()

    assert_problem(upload, 503, "database_unavailable")
    assert_problem(listing, 503, "database_unavailable")
    assert int(listing["Retry-After"]) > 0
    assert (status.status_code, status.json()["database"]) == (200, "down")
    assert stored() == set()
    assert not Image.objects.exists()


def test_a_file_may_have_exactly_ten_megabytes(person: Person) -> None:
    largest = PNG + bytes(limits.MAX_BYTES - len(PNG))

    assert person.upload(largest).status_code == 201
    assert_problem(person.upload(largest + b"x"), 413, "image_too_large", "image")
