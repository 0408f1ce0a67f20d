"""The context of a request: its deadline, its wait for a thread, and what is logged of what nobody foresaw."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from internal import context
from internal.middleware import RequestContextMiddleware


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("nobody foresaw this")


urlpatterns = [path("broken", broken)]
handler500 = "internal.problems.server_error"


def remaining(header: str | None, *, waited: float = 0.0, slow_body: float = 0.0, accepts: bool) -> float:
    seen: list[float] = []

    def view(request: HttpRequest) -> HttpResponse:
        time.sleep(slow_body)
        seen.append(context.current_deadline().remaining())
        return HttpResponse()

    headers = {} if header is None else {"X-Deadline-Ms": header}
    context.bind_wait(waited)
    request = RequestFactory().post("/", b"{}", "application/json", headers=headers)
    with override_settings(ACCEPTS_DEADLINE=accepts):
        RequestContextMiddleware(view)(request)
    return seen[0]


def test_a_role_inside_keeps_the_deadline_of_its_caller_and_the_gateway_gives_its_own() -> None:
    assert remaining("1000", accepts=True) == pytest.approx(1.0, abs=0.2)
    assert remaining("1000", accepts=False) == pytest.approx(context.REQUEST_DEADLINE, abs=0.2)
    assert remaining("999999", accepts=True) <= context.UPLOAD_DEADLINE


@pytest.mark.parametrize("header", ["", "soon", "-5", "9" * 5000, "1e3", "٣"])
def test_a_malformed_deadline_is_passed_over(header: str) -> None:
    assert remaining(header, accepts=True) == pytest.approx(context.REQUEST_DEADLINE, abs=0.2)


def test_a_body_that_arrives_slowly_does_not_use_up_the_time_of_the_services() -> None:
    assert remaining(None, slow_body=0.3, accepts=False) == pytest.approx(context.REQUEST_DEADLINE, abs=0.1)


def through(request: HttpRequest, view: Callable[[], None], *, waited: float = 0.0) -> None:
    """The view within a request of a person, which has waited for a thread so long (s)."""

    def answer(_: HttpRequest) -> HttpResponse:
        view()
        return HttpResponse()

    context.bind_wait(waited)
    RequestContextMiddleware(answer)(request)


PAGE, FORM = RequestFactory().get("/"), RequestFactory().post("/", b"{}", "application/json")


def test_without_a_body_the_time_runs_from_the_beginning() -> None:
    left: list[float] = []

    def view() -> None:
        time.sleep(0.3)
        left.append(context.current_deadline().remaining())

    through(PAGE, view)

    assert left[0] == pytest.approx(context.REQUEST_DEADLINE - 0.3, abs=0.1)


@pytest.mark.parametrize("request_", [PAGE, FORM], ids=["page", "form"])
def test_what_is_asked_first_has_a_part_of_the_time_and_leaves_the_rest(request_: HttpRequest) -> None:
    """The renewal of a token, and the keys that verify it."""
    left: list[float] = []

    def view() -> None:
        with context.within(0.3) as first:
            left.append(first.remaining())
            time.sleep(0.3)
        with context.within(10 * context.REQUEST_DEADLINE) as second:
            left.append(second.remaining())
        left.append(context.current_deadline().remaining())

    through(request_, view, waited=1.0)

    rest = context.REQUEST_DEADLINE - 1.3
    assert left == [pytest.approx(0.3, abs=0.1), pytest.approx(rest, abs=0.1), pytest.approx(rest, abs=0.1)]


def test_a_body_that_arrives_slowly_behind_what_is_asked_first_uses_up_nothing() -> None:
    left: list[float] = []

    def view() -> None:
        with context.within(0.7):
            pass
        time.sleep(0.3)
        left.append(context.current_deadline().remaining())

    through(FORM, view)

    assert left[0] == pytest.approx(context.REQUEST_DEADLINE, abs=0.1)


def test_the_wait_for_a_thread_and_what_is_asked_first_are_taken_from_the_time_of_an_upload() -> None:
    left: list[float] = []

    def view() -> None:
        with context.within(0.3):
            time.sleep(0.3)
        time.sleep(0.2)  # its body arrives
        with context.upload_deadline() as deadline:
            left.append(deadline.remaining())

    through(FORM, view, waited=1.6)

    assert left[0] == pytest.approx(context.UPLOAD_DEADLINE - 1.9, abs=0.1)


def test_a_call_whose_caller_has_stopped_waiting_is_not_begun() -> None:
    """Neither by authentication nor by the database: they come behind this middleware."""
    begun: list[HttpRequest] = []

    def view(request: HttpRequest) -> HttpResponse:
        begun.append(request)
        return HttpResponse()

    def answer(header: str, *, waited: float, accepts: bool = True) -> HttpResponse:
        context.bind_wait(waited)
        with override_settings(ACCEPTS_DEADLINE=accepts):
            return RequestContextMiddleware(view)(RequestFactory().post("/", headers={"X-Deadline-Ms": header}))

    late = answer("500", waited=0.6)
    assert (late.status_code, late["Retry-After"], json.loads(late.content)["code"]) == (503, "2", "deadline_exceeded")
    assert answer("0", waited=0).status_code == 503
    assert begun == []
    assert answer("500", waited=0.1).status_code == 200
    assert answer("0", waited=0, accepts=False).status_code == 200
    assert len(begun) == 2


@pytest.mark.parametrize("accepts", [True, False])
def test_what_a_request_waited_for_a_thread_is_taken_from_its_deadline(accepts: bool) -> None:
    whole = str(int(context.REQUEST_DEADLINE * 1000))
    left = context.REQUEST_DEADLINE - 0.8
    assert remaining(whole, waited=0.8, accepts=accepts) == pytest.approx(left, abs=0.2)
    assert context.wait() == 0


@override_settings(
    ROOT_URLCONF="tests.internal.test_middleware", MIDDLEWARE=["internal.middleware.RequestContextMiddleware"]
)
def test_what_nobody_foresaw_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = Client(raise_request_exception=False).get("/broken", headers={"X-Request-ID": "request-0001"})
    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    logged = [record for record in caplog.records if "request_failed" in str(record.msg)]
    assert len(logged) == 1
    assert "request-0001" in str(logged[0].msg)
    assert "nobody foresaw this" in str(logged[0].msg)
