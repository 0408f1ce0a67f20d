"""The record of what happened."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from structlog.testing import capture_logs

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
        *("lovelace", "ada king", "ada.king", "example.org"),  # words that no hexadecimal id can contain
        *(calls.PASSWORD, calls.OTHER_PASSWORD, "mistyped"),
        *(given[kind].lower() for given in (grant, elsewhere, renewed) for kind in ("access_token", "refresh_token")),
    ]
    assert [secret for secret in secrets if secret in recorded] == []


@pytest.mark.parametrize(
    ("header", "address"), [("198.51.100.9", "198.51.100.9"), ("fe80::1%eth0", "fe80::1"), ("nonsense", None)]
)
def test_an_event_says_where_the_person_is_as_the_gateway_saw_it(
    grant: dict[str, Any], header: str, address: str | None
) -> None:
    headers = {"Authorization": f"Bearer {grant['access_token']}", "X-Client-Address": header}

    Client().delete("/internal/v1/account", headers=headers)

    assert AuditEvent.objects.get(what="account_closed").address == address


def test_an_event_that_is_committed_is_a_line_in_the_log_as_well(
    django_capture_on_commit_callbacks: Any,
) -> None:
    with capture_logs() as lines, django_capture_on_commit_callbacks(execute=True):
        audit.record(audit.What.SIGN_IN_FAILED, address="192.0.2.1")

    [line] = lines
    assert (line["event"], line["what"], line["address"]) == ("audit_event_recorded", "sign_in_failed", "192.0.2.1")
    assert line["audit_id"] == AuditEvent.objects.get().pk


# how long events are kept


def execute(*statements: str) -> None:
    """Runs statements in one transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def old_events(count: int, *, days: float) -> None:
    moment = timezone.now() - dt.timedelta(days=days)
    AuditEvent.objects.bulk_create([AuditEvent(what="signed_in", occurred_at=moment) for _ in range(count)])


def pruned() -> list[dict[str, Any]]:
    return list(AuditEvent.objects.filter(what="audit_pruned").order_by("id").values_list("details", flat=True))


def test_pruning_deletes_old_events_in_batches_and_the_database_records_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "PRUNING_BATCH", 2)
    old_events(5, days=366)
    old_events(1, days=364)
    output = io.StringIO()

    call_command("audit", "prune", "--older-than-days", "365", stdout=output)

    assert output.getvalue().splitlines() == [
        "2 deleted so far …",
        "4 deleted so far …",
        "5 deleted so far …",
        "5 audit events older than 365 days deleted.",
    ]
    assert AuditEvent.objects.filter(what="signed_in").count() == 1
    assert [details["removed"] for details in pruned()] == [2, 2, 1]
    assert set(pruned()[0]) == {"removed", "oldest", "newest", "database_user"}


def test_pruning_nothing_leaves_nothing() -> None:
    old_events(1, days=31)

    assert audit.prune(older_than=dt.timedelta(days=32)) == 0
    assert [event.what for event in AuditEvent.objects.all()] == ["signed_in"]


@pytest.mark.parametrize("days", ["29", "0", "-1", "36501"])
def test_a_time_that_the_database_would_not_allow_is_refused_in_words(days: str) -> None:
    with pytest.raises(CommandError, match=f"--older-than-days is {days}: give a number from 30"):
        call_command("audit", "prune", "--older-than-days", days)


def test_without_a_number_the_settings_say_how_long(settings: Any) -> None:
    with pytest.raises(CommandError, match="Give --older-than-days, or run this under"):
        call_command("audit", "prune")
    settings.AUDIT_RETENTION_DAYS = 40
    old_events(1, days=41)
    output = io.StringIO()

    call_command("audit", "prune", stdout=output)

    assert "1 audit events older than 40 days deleted." in output.getvalue()


def test_not_even_pruning_can_delete_what_is_younger_than_30_days() -> None:
    old_events(1, days=29)
    with pytest.raises(ValueError, match="30 days at least"):
        audit.prune(older_than=dt.timedelta(days=29))

    with pytest.raises(IntegrityError, match="append-only"):
        execute("SET LOCAL seawall.audit_pruning = 'on'", "DELETE FROM credentials_auditevent")

    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(
    ("setting", "change"),
    [
        ("on", "UPDATE credentials_auditevent SET request_id = 'x'"),
        ("off", "DELETE FROM credentials_auditevent"),
        ("", "DELETE FROM credentials_auditevent"),
    ],
)
def test_an_old_event_is_not_changed_and_without_saying_so_not_deleted(setting: str, change: str) -> None:
    old_events(1, days=1000)

    with pytest.raises(IntegrityError, match="append-only"):
        execute(f"SET LOCAL seawall.audit_pruning = '{setting}'", change)

    assert AuditEvent.objects.get().request_id == ""


def test_the_table_cannot_be_emptied_at_once() -> None:
    old_events(1, days=1000)

    with pytest.raises(IntegrityError, match="append-only"):
        execute(
            "ALTER TABLE credentials_auditevent ENABLE TRIGGER audit_events_not_truncated",
            "TRUNCATE credentials_auditevent",
        )

    assert AuditEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_pruning_twice_at_once_deletes_each_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PRUNING_BATCH", 7)
    old_events(100, days=400)
    removed: list[int] = []

    def prune() -> None:
        try:
            removed.append(audit.prune(older_than=dt.timedelta(days=365)))
        finally:
            connection.close()

    threads = [threading.Thread(target=prune) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(removed) == sum(details["removed"] for details in pruned()) == 100
    assert not AuditEvent.objects.filter(what="signed_in").exists()
