"""Signing in and out, the password, the sessions."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

from internal.contracts import Session
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.problems import FieldError, Problem
from tests.api.calls.conftest import MOMENT, MOMENT_JSON, SESSION_ID, Caller

CREDENTIALS = {"email": "ada@example.org", "password": "correct horse battery"}
GRANT_JSON = {
    "access_token": "access",
    "refresh_token": "refresh",
    "token_type": "Bearer",
    "expires_in": 600,
    "refresh_expires_in": 2_592_000,
}


def test_signing_in_yields_two_tokens(api: Caller, auth: Mock) -> None:
    response = api("POST", "/login", json=CREDENTIALS, token=None, headers={"User-Agent": "curl/8"})

    assert response.status_code == 200
    assert response.json() == GRANT_JSON
    auth.sign_in.assert_called_once_with(**CREDENTIALS, device="curl/8", address="127.0.0.1")


@pytest.mark.parametrize(
    ("agent", "device"),
    [("", "Unknown client"), ("a\tb\x7f", "ab"), ("x" * 300, "x" * 200), ("   ", "Unknown client")],
)
def test_the_device_is_short_and_printable(api: Caller, auth: Mock, agent: str, device: str) -> None:
    api("POST", "/login", json=CREDENTIALS, token=None, headers={"User-Agent": agent})

    assert auth.sign_in.call_args.kwargs["device"] == device


@pytest.mark.parametrize(
    ("problem", "status", "headers"),
    [
        (Problem("invalid_credentials", "Wrong."), 401, {"WWW-Authenticate": 'Bearer realm="seawall"'}),
        (Problem("account_locked", "Wait.", retry_after=30), 429, {"Retry-After": "30"}),
        (Problem("too_many_requests", "Wait.", retry_after=1), 429, {"Retry-After": "1"}),
    ],
)
def test_signing_in_is_refused_as_auth_says(
    api: Caller, auth: Mock, problem: Problem, status: int, headers: dict[str, str]
) -> None:
    auth.sign_in.side_effect = Rejected("auth", problem)

    response = api("POST", "/login", json=CREDENTIALS, token=None)

    assert response.status_code == status
    assert response.json()["code"] == problem.code
    assert {name: response[name] for name in headers} == headers


@pytest.mark.parametrize("error", [Unavailable("auth", "refused"), InvalidReply("auth", "html")])
def test_signing_in_without_the_auth_service_says_so(api: Caller, auth: Mock, error: Exception) -> None:
    auth.sign_in.side_effect = error

    response = api("POST", "/login", json=CREDENTIALS, token=None)

    assert response.status_code == 503
    assert response.json()["detail"].startswith("Failed to communicate with Auth service")
    assert int(response["Retry-After"]) > 0


@pytest.mark.parametrize("call", ["/login", "/refresh", "/logout"])
@pytest.mark.parametrize("value", [None, 1, "", [], {}, True, "\x00", "x" * 1025])
def test_inputs_of_the_wrong_form_do_not_reach_auth(api: Caller, auth: Mock, call: str, value: Any) -> None:
    body = {"email": value, "password": value} if call == "/login" else {"refresh_token": value}

    response = api("POST", call, json=body, token=None)

    assert response.status_code == 422
    assert {error["field"] for error in response.json()["errors"]} == set(body)
    assert auth.mock_calls == []


def test_a_bad_token_is_no_obstacle_to_signing_in(api: Caller) -> None:
    assert api("POST", "/login", json=CREDENTIALS, token="old").status_code == 200


def test_a_refresh_token_is_traded_for_new_tokens(api: Caller, auth: Mock) -> None:
    response = api("POST", "/refresh", json={"refresh_token": "r1"}, token=None, headers={"User-Agent": "curl/8"})

    assert response.status_code == 200
    assert response.json() == GRANT_JSON
    auth.refresh.assert_called_once_with(refresh_token="r1", device="curl/8", address="127.0.0.1")


def test_a_refresh_token_that_is_used_up_is_refused(api: Caller, auth: Mock) -> None:
    auth.refresh.side_effect = Rejected("auth", Problem("invalid_refresh_token", "Sign in again."))

    response = api("POST", "/refresh", json={"refresh_token": "r1"}, token=None)

    assert response.status_code == 401
    assert response.json()["code"] == "invalid_refresh_token"


def test_signing_out_ends_the_session(api: Caller, auth: Mock) -> None:
    assert api("POST", "/logout", json={"refresh_token": "r1"}, token=None).status_code == 204
    auth.sign_out.assert_called_once_with(refresh_token="r1")


def test_the_password_is_changed_by_auth(api: Caller, auth: Mock, token: str) -> None:
    change = {"current_password": "correct horse", "new_password": "battery staple"}

    assert api("POST", "/password", json=change).status_code == 204
    auth.change_password.assert_called_once_with(token, **change)


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (Problem("wrong_password", "No.", (FieldError("current_password", "wrong_password", "No."),)), 422),
        (Problem("invalid_input", "No.", (FieldError("new_password", "too_common", "No."),)), 422),
        (Problem("account_locked", "Wait.", retry_after=9), 429),
    ],
)
def test_the_password_is_not_changed_when_auth_refuses(api: Caller, auth: Mock, problem: Problem, status: int) -> None:
    auth.change_password.side_effect = Rejected("auth", problem)

    response = api("POST", "/password", json={"current_password": "x", "new_password": "y" * 8})

    assert response.status_code == status
    assert response.json()["errors" if problem.errors else "code"] == (
        [error.to_json() for error in problem.errors] or problem.code
    )


def test_the_sessions_are_listed(api: Caller, auth: Mock, token: str) -> None:
    auth.sessions.return_value = (
        Session(
            id=SESSION_ID,
            device="curl/8",
            address="192.0.2.7",
            created_at=MOMENT,
            last_used_at=MOMENT,
            expires_at=MOMENT,
            current=True,
        ),
    )

    response = api("GET", "/sessions")

    assert response.status_code == 200
    assert response.json() == {
        "items": [
            {
                "id": str(SESSION_ID),
                "device": "curl/8",
                "address": "192.0.2.7",
                "created_at": MOMENT_JSON,
                "last_used_at": MOMENT_JSON,
                "expires_at": MOMENT_JSON,
                "current": True,
            }
        ]
    }
    auth.sessions.assert_called_once_with(token)


def test_a_session_can_be_ended(api: Caller, auth: Mock, token: str) -> None:
    assert api("DELETE", f"/sessions/{SESSION_ID}").status_code == 204
    auth.end_session.assert_called_once_with(token, SESSION_ID)


def test_somebody_elses_session_is_not_found(api: Caller, auth: Mock) -> None:
    auth.end_session.side_effect = Rejected("auth", Problem("not_found", "There is no such session."))

    assert api("DELETE", f"/sessions/{SESSION_ID}").status_code == 404
