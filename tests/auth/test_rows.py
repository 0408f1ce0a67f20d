"""Rows written and found without Django's compiler are the rows that Django would have written and found."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from auth import rows, signing_keys
from auth.models import Account, AuditEvent, RefreshToken, Session, SigningKey

pytestmark = pytest.mark.django_db


def account() -> Account:
    made = Account(name="Ada", email="Ada@example.org", password_hash="argon2$", created_at=timezone.now())
    made.save()
    return made


def session_of(owner: Account) -> Session:
    now = timezone.now()
    times = dict.fromkeys(("created_at", "last_used_at", "rotated_at"), now)
    end = now + dt.timedelta(days=1)
    return Session(account=owner, device="Ä", address="2001:db8::1", expires_at=end, absolute_expires_at=end, **times)


def values(row: models.Model) -> dict[str, object]:
    def plain(value: object) -> object:
        return bytes(value) if isinstance(value, memoryview) else value

    return {field.attname: plain(getattr(row, field.attname)) for field in row._meta.concrete_fields}


def test_what_is_inserted_is_found_by_django_as_it_was() -> None:
    session = session_of(account())
    token = RefreshToken(token_hash=b"h" * 32, session=session, generation=3, created_at=timezone.now())
    event = AuditEvent(what="signed_in", account_id=uuid4(), details={"fields": ["a", "ü"], "n": 1})

    for row in (session, token, event):
        rows.insert(row)

    assert event.pk is not None
    for row in (session, token, event):
        assert not row._state.adding
        assert values(type(row)._default_manager.get(pk=row.pk)) == values(row)


def test_what_is_found_is_what_django_finds() -> None:
    key = signing_keys.ensure_active()
    owner = account()

    found_key = rows.first(SigningKey, "state = %s", ["active"])
    found_owner = rows.first(Account, "email_key = %s", ["ada@example.org"])

    assert found_key is not None
    assert found_owner is not None
    assert values(found_key) == values(SigningKey.objects.get(pk=key.pk))
    assert values(found_owner) == values(Account.objects.get(pk=owner.pk))
    found_owner.name = "Ada L."
    found_owner.save()
    assert Account.objects.get().name == "Ada L."


def test_a_row_is_found_with_the_one_that_it_belongs_to(django_assert_num_queries: Any) -> None:
    owner = account()
    session = rows.insert(session_of(owner))

    with django_assert_num_queries(1):
        found = rows.first_with(Session, "account", "device = %s", ["Ä"])
        assert found is not None
        assert values(found.account) == values(owner)
    assert values(found) == values(Session.objects.get(pk=session.pk))
    assert rows.first_with(Session, "account", "device = %s", ["another"]) is None


def test_nothing_is_found_where_nothing_is() -> None:
    assert rows.first(Account, "email_key = %s", ["nobody@example.org"]) is None


def test_constraints_hold() -> None:
    session = session_of(account())
    session.expires_at = session.absolute_expires_at + dt.timedelta(days=1)

    with pytest.raises(IntegrityError, match="session_idle_within_absolute"), transaction.atomic():
        rows.insert(session)
