"""How long a session holds, with a moved clock; and what ends it before its time."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.utils import timezone

from auth import sessions
from auth.models import AuditEvent, RefreshToken, Session
from tests.auth import calls
from tests.auth.clock import Clock, clock

__all__ = ["clock"]

pytestmark = pytest.mark.django_db

REFUSED = (401, "invalid_refresh_token", [])
IDLE_DAYS, ABSOLUTE_DAYS = 14, 90


def test_the_lifetimes_are_those_that_the_documentation_promises() -> None:
    assert (sessions.IDLE_LIFETIME.days, sessions.ABSOLUTE_LIFETIME.days) == (IDLE_DAYS, ABSOLUTE_DAYS)


def test_a_session_that_is_not_used_for_14_days_is_over(clock: Clock, grant: dict[str, Any]) -> None:
    clock.advance(days=IDLE_DAYS, seconds=-60)
    renewed = json.loads(calls.refresh(grant["refresh_token"]).content)
    clock.advance(days=IDLE_DAYS, seconds=-60)
    renewed = json.loads(calls.refresh(renewed["refresh_token"]).content)
    clock.advance(days=IDLE_DAYS, seconds=1)

    assert calls.problem(calls.refresh(renewed["refresh_token"])) == REFUSED
    assert calls.problem(calls.personal("GET", "account", grant["access_token"]))[:2] == (401, "invalid_token")
    assert Session.objects.get().end_reason == ""


def test_a_session_that_is_always_used_is_over_after_90_days(clock: Clock, grant: dict[str, Any]) -> None:
    token = grant["refresh_token"]
    for _ in range(8):
        clock.advance(days=10)
        token = json.loads(calls.refresh(token).content)["refresh_token"]
    clock.advance(days=10, seconds=-60)
    last = json.loads(calls.refresh(token).content)
    assert 0 < last["refresh_expires_in"] <= 60
    clock.advance(seconds=61)

    assert calls.problem(calls.refresh(last["refresh_token"])) == REFUSED


def test_an_access_token_does_not_outlive_its_session(grant: dict[str, Any], settings: Any) -> None:
    assert grant["expires_in"] == settings.ACCESS_TOKEN_SECONDS
    soon = timezone.now() + dt.timedelta(seconds=90)
    Session.objects.update(absolute_expires_at=soon, expires_at=soon)

    renewed = json.loads(calls.refresh(grant["refresh_token"]).content)

    assert 80 < renewed["expires_in"] <= 90
    assert calls.tokens.verify(renewed["access_token"]).expires_at <= soon


def test_the_grace_for_a_lost_reply_is_ten_seconds(clock: Clock, grant: dict[str, Any]) -> None:
    assert calls.refresh(grant["refresh_token"]).status_code == 200
    clock.advance(seconds=9)
    assert calls.refresh(grant["refresh_token"]).status_code == 200
    clock.advance(seconds=2)

    assert calls.problem(calls.refresh(grant["refresh_token"])) == REFUSED
    assert Session.objects.get().end_reason == "token_reused"


def test_the_list_says_the_last_use_of_each_session(clock: Clock, grant: dict[str, Any]) -> None:
    began = Session.objects.get().last_used_at
    clock.advance(hours=2)
    payload = {"refresh_token": grant["refresh_token"], "device": "Safari on iPhone", "address": "198.51.100.4"}
    calls.signed("sessions/refresh", payload)

    [listed] = json.loads(calls.personal("GET", "sessions", grant["access_token"]).content)["items"]

    assert (listed["device"], listed["address"]) == ("Safari on iPhone", "198.51.100.4")
    assert (Session.objects.get().last_used_at - began).total_seconds() == pytest.approx(7200, abs=60)


def test_a_changed_password_ends_every_other_session_and_keeps_this_one(grant: dict[str, Any]) -> None:
    others = [calls.sign_in() for _ in range(3)]
    passwords = {"current_password": calls.PASSWORD, "new_password": calls.OTHER_PASSWORD}

    assert calls.personal("POST", "account/password", grant["access_token"], passwords).status_code == 204

    for other in others:
        assert calls.personal("GET", "account", other["access_token"]).status_code == 401
        assert calls.problem(calls.refresh(other["refresh_token"])) == REFUSED
    assert calls.personal("GET", "account", grant["access_token"]).status_code == 200
    assert calls.refresh(grant["refresh_token"]).status_code == 200
    assert AuditEvent.objects.filter(what="session_ended", details__reason="password_changed").count() == 3


def test_closing_the_account_ends_every_session(grant: dict[str, Any]) -> None:
    elsewhere = calls.sign_in()

    assert calls.personal("DELETE", "account", grant["access_token"]).status_code == 204

    for tokens in (grant, elsewhere):
        assert calls.personal("GET", "account", tokens["access_token"]).status_code == 401
        assert calls.problem(calls.refresh(tokens["refresh_token"])) == REFUSED
    assert (Session.objects.count(), RefreshToken.objects.count()) == (0, 0)
