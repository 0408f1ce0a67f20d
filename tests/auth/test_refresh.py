"""POST sessions/refresh and sessions/revoke."""

from __future__ import annotations

import datetime as dt
import json
import threading
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from auth.models import AuditEvent, RefreshToken, Session
from tests.auth import calls

pytestmark = pytest.mark.django_db

REFUSED = (401, "invalid_refresh_token", [])


def refreshed(token: str) -> dict[str, Any]:
    response = calls.refresh(token)
    assert response.status_code == 200, response.content
    return json.loads(response.content)


def let_the_grace_pass() -> None:
    Session.objects.update(
        created_at=F("created_at") - dt.timedelta(seconds=11), rotated_at=F("rotated_at") - dt.timedelta(seconds=11)
    )


def test_a_refresh_yields_new_tokens_of_the_same_session(grant: dict[str, Any]) -> None:
    new = refreshed(grant["refresh_token"])

    assert calls.session_id(new) == calls.session_id(grant)
    assert new["refresh_token"] != grant["refresh_token"]
    assert new["access_token"] != grant["access_token"]
    stored = RefreshToken.objects.order_by("id")
    assert [(token.generation, token.used_at is None) for token in stored] == [(0, False), (1, True)]


def test_a_refresh_moves_the_idle_end_but_never_past_the_absolute_one(grant: dict[str, Any]) -> None:
    Session.objects.update(
        expires_at=timezone.now() + dt.timedelta(days=1), absolute_expires_at=timezone.now() + dt.timedelta(days=3)
    )

    new = refreshed(grant["refresh_token"])

    session = Session.objects.get()
    assert session.expires_at == session.absolute_expires_at
    assert 2 * 24 * 3600 < new["refresh_expires_in"] <= 3 * 24 * 3600


def test_a_used_token_is_good_again_for_a_browser_that_refreshed_twice_at_once(grant: dict[str, Any]) -> None:
    first = refreshed(grant["refresh_token"])
    second = refreshed(grant["refresh_token"])

    assert calls.session_id(first) == calls.session_id(second) == calls.session_id(grant)
    assert Session.objects.get().generation == 1
    refreshed(second["refresh_token"])


def test_a_used_token_after_the_grace_ends_the_whole_family(grant: dict[str, Any]) -> None:
    new = refreshed(grant["refresh_token"])
    let_the_grace_pass()

    assert calls.problem(calls.refresh(grant["refresh_token"])) == REFUSED

    session = Session.objects.get()
    assert session.end_reason == "token_reused"
    assert calls.problem(calls.refresh(new["refresh_token"])) == REFUSED
    assert calls.problem(calls.personal("GET", "account", new["access_token"]))[:2] == (401, "invalid_token")
    assert list(
        AuditEvent.objects.filter(what="refresh_token_reused").values_list(
            "account_id", "session_id", "address", "details"
        )
    ) == [(session.account_id, session.id, calls.ADDRESS, {"generation": 0, "current_generation": 1})]


def test_a_token_two_generations_old_is_reuse_even_within_the_grace(grant: dict[str, Any]) -> None:
    refreshed(refreshed(grant["refresh_token"])["refresh_token"])

    assert calls.problem(calls.refresh(grant["refresh_token"])) == REFUSED
    assert Session.objects.get().end_reason == "token_reused"


def test_a_thief_who_used_the_grace_is_noticed_when_both_go_on(grant: dict[str, Any]) -> None:
    owner = refreshed(grant["refresh_token"])
    thief = refreshed(grant["refresh_token"])
    refreshed(owner["refresh_token"])
    let_the_grace_pass()

    assert calls.problem(calls.refresh(thief["refresh_token"])) == REFUSED
    assert Session.objects.get().end_reason == "token_reused"


def test_other_sessions_outlive_the_end_of_a_family(grant: dict[str, Any]) -> None:
    elsewhere = calls.sign_in()
    refreshed(grant["refresh_token"])
    Session.objects.filter(pk=calls.session_id(grant)).update(
        created_at=F("created_at") - dt.timedelta(minutes=1), rotated_at=F("rotated_at") - dt.timedelta(minutes=1)
    )

    assert calls.problem(calls.refresh(grant["refresh_token"])) == REFUSED
    assert calls.personal("GET", "account", elsewhere["access_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_parallel_refreshes_of_one_token_all_succeed_and_move_one_generation() -> None:
    calls.register()
    grant = calls.sign_in()
    statuses: list[int] = []

    def refresh() -> None:
        try:
            statuses.append(calls.refresh(grant["refresh_token"]).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=refresh) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    session = Session.objects.get()
    assert statuses == [200] * 6
    assert (session.generation, session.ended_at, session.refresh_tokens.count()) == (1, None, 7)


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 44, "*" * 43, "é" * 43, "=" * 43])
def test_an_unknown_token_is_refused(grant: dict[str, Any], token: str) -> None:
    assert calls.problem(calls.refresh(token)) == REFUSED


def test_a_session_that_ran_out_is_not_refreshed(grant: dict[str, Any]) -> None:
    Session.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))

    assert calls.problem(calls.refresh(grant["refresh_token"])) == REFUSED
    assert calls.problem(calls.personal("GET", "account", grant["access_token"]))[:2] == (401, "invalid_token")


def test_sign_out_ends_the_session_whatever_generation_its_token_is_of(grant: dict[str, Any]) -> None:
    new = refreshed(grant["refresh_token"])

    response = calls.signed("sessions/revoke", {"refresh_token": grant["refresh_token"]})

    assert response.status_code == 200
    assert response.json() == {"account_id": str(Session.objects.get().account_id)}
    assert Session.objects.get().end_reason == "signed_out"
    assert calls.problem(calls.refresh(new["refresh_token"])) == REFUSED
    assert AuditEvent.objects.filter(what="signed_out").count() == 1


def test_signing_out_again_or_with_an_unknown_token_is_no_error(grant: dict[str, Any]) -> None:
    tokens = [grant["refresh_token"], grant["refresh_token"], "unknown"]

    answers = [calls.signed("sessions/revoke", {"refresh_token": token}) for token in tokens]

    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[2].json() == {"account_id": None}
    assert AuditEvent.objects.filter(what="signed_out").count() == 1


@pytest.mark.parametrize("path", ["sessions", "sessions/refresh", "sessions/revoke"])
def test_sign_in_refresh_and_sign_out_need_a_signature(grant: dict[str, Any], path: str) -> None:
    assert calls.problem(calls.personal("POST", path, grant["access_token"], {}))[:2] == (401, "invalid_signature")
