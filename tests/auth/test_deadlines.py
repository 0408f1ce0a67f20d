"""What a person was told had not worked is not committed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auth import accounts, sessions
from auth.models import Account, AuditEvent, RefreshToken, Session
from internal.problems import Problem, ProblemError
from tests.auth import calls

pytestmark = pytest.mark.django_db


def too_late() -> None:
    raise ProblemError(Problem("deadline_exceeded", "Too late."))


@pytest.mark.parametrize("change", ["rename", "close", "end", "refresh", "password"])
def test_nothing_is_committed_for_somebody_who_has_stopped_waiting(
    change: str, grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were told that it did not work, and it did not: it works when it is tried again."""
    token, elsewhere = grant["access_token"], str(calls.session_id(calls.sign_in()))
    passwords = {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}
    does = {
        "rename": lambda: calls.personal("PATCH", "account", token, {"name": "Countess"}),
        "close": lambda: calls.personal("DELETE", "account", token),
        "end": lambda: calls.personal("DELETE", f"sessions/{elsewhere}", token),
        "refresh": lambda: calls.refresh(grant["refresh_token"]),
        "password": lambda: calls.personal("POST", "account/password", token, passwords),
    }[change]

    def everything() -> list[Any]:
        tables = (Account, Session, RefreshToken, AuditEvent)
        return [list(model.objects.order_by("pk").values()) for model in tables]  # type: ignore[attr-defined]

    before = everything()
    with monkeypatch.context() as slow:
        for module in (accounts, sessions):
            slow.setattr(module, "require_time_left", too_late)
        assert calls.problem(does())[:2] == (503, "deadline_exceeded")
    assert everything() == before

    assert does().status_code in {200, 204}
    assert everything() != before


def test_a_stolen_session_is_ended_and_a_sign_out_done_however_late(
    grant: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = calls.sign_in()
    renewed = json.loads(calls.refresh(grant["refresh_token"]).content)
    calls.refresh(renewed["refresh_token"])
    monkeypatch.setattr(sessions, "require_time_left", too_late)

    assert calls.refresh(grant["refresh_token"]).status_code == 401
    assert calls.signed("sessions/revoke", {"refresh_token": other["refresh_token"]}).status_code == 200

    assert set(Session.objects.values_list("end_reason", flat=True)) == {"token_reused", "signed_out"}
