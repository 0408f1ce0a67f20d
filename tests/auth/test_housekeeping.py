"""`manage.py credentials purge`: what is over goes, and nothing else."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from auth import housekeeping, lockout
from auth.models import Account, RefreshToken, Session, SignInFailure
from tests.auth import calls
from tests.auth.clock import Clock, clock

__all__ = ["clock"]

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)


def make_session(*, last_used: dt.timedelta, ended: dt.timedelta | None = None) -> Session:
    """A session last used, and perhaps ended, that long ago."""
    now = timezone.now()
    began = now - last_used
    session = Session.objects.create(
        account=Account.objects.get(),
        created_at=began,
        last_used_at=began,
        rotated_at=began,
        expires_at=began + 14 * DAY,
        absolute_expires_at=began + 90 * DAY,
        ended_at=None if ended is None else now - ended,
        end_reason="" if ended is None else "signed_out",
    )
    RefreshToken.objects.create(session=session, generation=0, token_hash=session.id.bytes * 2, created_at=began)
    return session


def test_sessions_go_30_days_after_their_end_with_their_tokens(account: dict[str, Any]) -> None:
    kept = {
        make_session(last_used=DAY),
        make_session(last_used=43 * DAY),  # ran out 29 days ago
        make_session(last_used=40 * DAY, ended=29 * DAY),
    }
    make_session(last_used=45 * DAY)  # ran out 31 days ago
    make_session(last_used=40 * DAY, ended=31 * DAY)

    purged = housekeeping.purge()

    assert purged == housekeeping.Purged(sessions=2, refresh_tokens=0, counters=0, changes=0)
    assert set(Session.objects.all()) == kept
    assert {token.session for token in RefreshToken.objects.all()} == kept


def test_a_used_token_is_known_as_such_until_it_would_have_run_out(clock: Clock, grant: dict[str, Any]) -> None:
    used, current = grant["refresh_token"], grant["refresh_token"]
    for days in (5, 8):
        clock.advance(days=days)
        current = json.loads(calls.refresh(current).content)["refresh_token"]
    assert housekeeping.purge().refresh_tokens == 0
    clock.advance(days=1, hours=1)  # 14 days and an hour after the first token was handed out

    assert housekeeping.purge().refresh_tokens == 1

    assert list(RefreshToken.objects.order_by("id").values_list("generation", flat=True)) == [1, 2]
    assert calls.problem(calls.refresh(used)) == (401, "invalid_refresh_token", [])
    assert calls.refresh(current).status_code == 200


def test_a_used_token_that_is_still_known_ends_the_family_after_a_purge(grant: dict[str, Any]) -> None:
    current = json.loads(calls.refresh(grant["refresh_token"]).content)["refresh_token"]
    current = json.loads(calls.refresh(current).content)["refresh_token"]
    housekeeping.purge()

    calls.refresh(grant["refresh_token"])

    assert Session.objects.get().end_reason == "token_reused"


def test_counters_go_when_their_window_is_over_and_nobody_is_locked() -> None:
    now = timezone.now()

    def counter(name: str, *, began: dt.timedelta, locked: dt.timedelta | None = None) -> None:
        until = None if locked is None else now + locked
        SignInFailure.objects.create(network=name, failures=1, window_started_at=now - began, locked_until=until)

    counter("young", began=lockout.WINDOW / 2)
    counter("locked", began=2 * lockout.WINDOW, locked=dt.timedelta(minutes=1))
    counter("over", began=2 * lockout.WINDOW)
    counter("was locked", began=2 * lockout.WINDOW, locked=-dt.timedelta(minutes=1))

    assert housekeeping.purge().counters == 2
    assert set(SignInFailure.objects.values_list("network", flat=True)) == {"young", "locked"}


def test_the_command_works_in_batches_and_says_how_it_goes_on(
    account: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for _ in range(5):
        make_session(last_used=60 * DAY)
    output = io.StringIO()

    call_command("credentials", "purge", stdout=output)

    assert output.getvalue().splitlines() == [
        "2 sessions deleted so far …",
        "4 sessions deleted so far …",
        "5 sessions deleted so far …",
        "Deleted: 5 sessions, 0 refresh tokens, 0 counters of failed sign-ins, 0 changes told.",
    ]


@pytest.mark.django_db(transaction=True)
def test_purges_at_the_same_time_delete_each_row_once_and_pass_over_one_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 3)
    calls.register()
    for _ in range(40):
        make_session(last_used=60 * DAY)
    deleted: list[int] = []

    def purge() -> None:
        try:
            deleted.append(housekeeping.purge().sessions)
        finally:
            connection.close()

    threads = [threading.Thread(target=purge) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (sum(deleted), Session.objects.count()) == (40, 0)
