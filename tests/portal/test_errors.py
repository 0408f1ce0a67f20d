from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory

from internal.problems import Problem
from portal import errors
from tests.portal.pages import text_of


def test_an_unknown_page_is_not_found_in_the_look_of_the_portal(visitor: Client) -> None:
    page = visitor.get("/nowhere", headers={"x-request-id": "from-a-test-0001"})

    assert page.status_code == 404
    words = text_of(page)
    assert "There is nothing here" in words
    assert "Request from-a-test-0001" in words


def test_an_unknown_address_of_the_api_is_a_problem_document(visitor: Client) -> None:
    answer = visitor.get("/api/v1/nowhere", headers={"accept": "text/html"})

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")
    assert answer.json()["code"] == "not_found"


def test_a_failure_that_nobody_foresaw_is_a_page_with_the_request_id(
    visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.raise_request_exception = False
    monkeypatch.setattr("portal.views.entry.render", lambda *_: 1 / 0)

    page = visitor.get("/", headers={"x-request-id": "from-a-test-0002"})

    assert page.status_code == 500
    words = text_of(page)
    assert "Something went wrong on our side" in words
    assert "from-a-test-0002" in words
    assert "ZeroDivisionError" not in words


def test_even_without_templates_a_failure_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "render_to_string", lambda *_: 1 / 0)

    page = errors.server_error(RequestFactory().get("/"))

    assert (page.status_code, page.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert b"Something went wrong on our side" in page.content


def test_a_body_beyond_the_limit_is_refused_with_a_page(visitor: Client) -> None:
    body = "name=" + "a" * 70_000

    page = visitor.post("/register", body, content_type="application/x-www-form-urlencoded")

    assert page.status_code == 413
    assert "This is too large" in text_of(page)


def test_a_body_beyond_any_upload_is_refused_before_it_is_read(visitor: Client) -> None:
    page = visitor.generic("POST", "/images", b"", content_type="multipart/form-data", CONTENT_LENGTH=str(10**12))

    assert page.status_code == 413
    assert "This is too large" in text_of(page)


@pytest.mark.parametrize(
    ("path", "megabytes", "status"),
    [
        ("/sign-in", 1, 413),
        ("/password", 1, 413),
        ("/nowhere", 1, 413),
        ("/register", 33, 413),
        ("/profile/image", 33, 413),
        ("/images", 129, 413),
    ],
)
def test_each_form_has_its_own_limit_before_anything_reads_it(
    anna: Client, path: str, megabytes: int, status: int
) -> None:
    length = str(megabytes * 1024 * 1024)

    page = anna.generic("POST", path, b"", content_type="multipart/form-data; boundary=b", CONTENT_LENGTH=length)

    assert page.status_code == status
    assert "This is too large" in text_of(page)


@pytest.mark.parametrize("length", ["-1", "x"])
def test_a_length_that_is_none_is_refused(visitor: Client, length: str) -> None:
    page = visitor.generic("POST", "/sign-in", b"", content_type="text/plain", CONTENT_LENGTH=length)

    assert 400 <= page.status_code < 500


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--b\r\nbroken", "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data"),
        (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"&".join(b"f%d=1" % number for number in range(200)), "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("path", ["/register", "/sign-in", "/images"])
def test_no_body_brings_the_portal_down(anna: Client, path: str, body: bytes, content_type: str) -> None:
    assert anna.generic("POST", path, body, content_type=content_type).status_code < 500


@pytest.mark.parametrize(
    "path", ["/%00", "/images/%00", "/%FF%FE", "/images/1", "/images?cursor=%00", "/sign-in?next=%00"]
)
def test_no_address_brings_the_portal_down(anna: Client, path: str) -> None:
    assert anna.get(path).status_code < 500


def test_a_forbidden_page_is_in_the_look_of_the_portal() -> None:
    page = errors.permission_denied(RequestFactory().get("/"), PermissionDenied())

    assert page.status_code == 403
    assert "This is not for you to open" in text_of(page)


@pytest.mark.parametrize(
    ("problem", "heading", "retry_after"),
    [
        (Problem("too_many_requests", "Slow down.", retry_after=30), "Too many requests Slow down.", "30"),
        (Problem("storage_full", "There is no room."), "The image store is full There is no room.", None),
        (Problem("conflict", "It is in use."), "The request conflicts with what is stored It is in use.", None),
    ],
)
def test_any_problem_can_be_a_page(problem: Problem, heading: str, retry_after: str | None) -> None:
    page = errors.problem_page(RequestFactory().get("/"), problem)

    assert page.status_code == problem.status
    assert heading in text_of(page)
    assert page.headers.get("Retry-After") == retry_after
