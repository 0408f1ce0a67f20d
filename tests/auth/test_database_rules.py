"""What must always hold is held by the database, whoever writes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from auth import audit
from auth.models import Account, AuditEvent, Session, SignInFailure, SigningKey
from auth.signing_keys import ensure_active

pytestmark = pytest.mark.django_db


def refused(name: str) -> Any:
    return pytest.raises(IntegrityError, match=name)


@pytest.mark.parametrize("change", ["update", "delete"])
def test_an_audit_event_is_neither_changed_nor_deleted(change: str) -> None:
    audit.record(audit.What.REGISTERED)
    events = AuditEvent.objects.all()

    with refused("append-only"), transaction.atomic():
        events.update(address="192.0.2.1") if change == "update" else events.delete()

    assert AuditEvent.objects.get().address is None


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"email_key": "Ada@example.org"}, "account_email_key_lower"),
        ({"email_key": ""}, "account_complete"),
        ({"name": ""}, "account_complete"),
        ({"password_hash": ""}, "account_complete"),
        ({"previous_sign_in_at": timezone.now()}, "account_sign_ins_in_order"),
    ],
)
def test_an_account_is_whole(account: dict[str, Any], values: dict[str, Any], rule: str) -> None:
    with refused(rule), transaction.atomic():
        Account.objects.update(**values)


def test_two_accounts_never_share_an_address(account: dict[str, Any]) -> None:
    with refused("account_email_unique"), transaction.atomic():
        Account.objects.create(name="Eve", email="ADA.lovelace@example.org", password_hash="x")


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"ended_at": timezone.now()}, "session_end_has_a_reason"),
        ({"end_reason": "signed_out"}, "session_end_has_a_reason"),
        ({"expires_at": timezone.now() + dt.timedelta(days=91)}, "session_idle_within_absolute"),
        ({"last_used_at": timezone.now() - dt.timedelta(days=1)}, "session_times_in_order"),
    ],
)
def test_a_session_is_whole(grant: dict[str, Any], values: dict[str, Any], rule: str) -> None:
    with refused(rule), transaction.atomic():
        Session.objects.update(**values)


@pytest.mark.parametrize("state", ["next", "retiring", "retired", "nonsense"])
def test_the_dates_of_a_signing_key_fit_its_state(state: str) -> None:
    ensure_active()

    with refused("signing_key_dates_fit_state"), transaction.atomic():
        SigningKey.objects.update(state=state)


def test_a_counter_counts_something() -> None:
    with refused("sign_in_failure_counts_something"), transaction.atomic():
        SignInFailure.objects.create(failures=1, window_started_at=timezone.now())
