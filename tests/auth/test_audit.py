"""The record of what happened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from auth import audit
from auth.models import AuditEvent
from tests.auth import calls

pytestmark = pytest.mark.django_db


def test_an_event_carries_the_id_of_the_request_that_caused_it(grant: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {grant['access_token']}", "X-Request-ID": "0123456789abcdef"}

    Client().delete("/internal/v1/account", headers=headers)

    assert AuditEvent.objects.get(what="account_closed").request_id == "0123456789abcdef"


def test_an_event_outside_of_a_request_has_no_request_id() -> None:
    audit.record(audit.What.SIGN_IN_UNLOCKED, details={"staff": "7"})

    event = AuditEvent.objects.get()
    assert (event.request_id, event.account_id, event.address, event.details) == ("", None, None, {"staff": "7"})


def test_no_event_says_a_password_a_token_a_name_or_an_address(grant: dict[str, Any]) -> None:
    token = grant["access_token"]
    elsewhere = calls.sign_in()
    renewed = json.loads(calls.refresh(grant["refresh_token"]).content)
    json.loads(calls.refresh(renewed["refresh_token"]).content)
    calls.try_sign_in(password="mistyped-password")
    change = {"name": "Ada King", "email": "ada.king@example.org", "current_password": calls.PASSWORD}
    calls.personal("PATCH", "account", token, change)
    passwords = {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}
    calls.personal("POST", "account/password", token, passwords)
    calls.refresh(grant["refresh_token"])
    calls.signed("sessions/revoke", {"refresh_token": elsewhere["refresh_token"]})

    recorded = str(list(AuditEvent.objects.values())).lower()

    assert {event.what for event in AuditEvent.objects.all()} == {
        "signing_key_created",
        "registered",
        "signed_in",
        "sign_in_failed",
        "profile_changed",
        "password_changed",
        "session_ended",
        "refresh_token_reused",
    }
    secrets = [
        *("ada", "example.org", calls.PASSWORD, calls.OTHER_PASSWORD, "mistyped"),
        *(given[kind].lower() for given in (grant, elsewhere, renewed) for kind in ("access_token", "refresh_token")),
    ]
    assert [secret for secret in secrets if secret in recorded] == []
