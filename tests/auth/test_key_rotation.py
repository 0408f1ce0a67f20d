"""How signing keys follow each other: every step, every refusal, and that no good token is lost on the way."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import Client
from joserfc import jws

from auth import key_encryption, key_rotation
from auth.key_rotation import Refused, Times
from auth.models import AuditEvent, SigningKey
from internal import tokens
from internal.keys import NamedKey
from tests.auth import calls
from tests.auth.clock import Clock, clock

__all__ = ["clock"]

pytestmark = pytest.mark.django_db

PUBLISHED, SIGNING, VERIFYING = dt.timedelta(seconds=60), dt.timedelta(days=30), dt.timedelta(seconds=610)


def states() -> list[str]:
    """The state of every key, the oldest key first."""
    return list(SigningKey.objects.order_by("created_at", "activated_at").values_list("state", flat=True))


def one(state: str) -> SigningKey:
    return SigningKey.objects.get(state=state)


def published() -> set[str]:
    """The ids in the key set that verifiers get."""
    return {jwk["kid"] for jwk in Client().get("/internal/v1/jwks").json()["keys"]}


def events() -> list[tuple[str, dict[str, Any]]]:
    """What was recorded about keys, oldest first."""
    recorded = AuditEvent.objects.filter(what__startswith="signing_key").order_by("id")
    return [(event.what, event.details) for event in recorded]


def accepted(grant: dict[str, Any]) -> bool:
    return calls.personal("GET", "account", grant["access_token"]).status_code == 200


def signer(grant: dict[str, Any]) -> str:
    header: str = jws.extract_compact(grant["access_token"].encode()).headers()["kid"]
    return header


# when


def test_each_state_lasts_as_long_as_its_setting_says() -> None:
    start = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    times = Times.of_settings()
    next_key = SigningKey(state="next", created_at=start)
    active = SigningKey(state="active", created_at=start - SIGNING, activated_at=start)
    retiring = SigningKey(state="retiring", activated_at=start - SIGNING, retiring_at=start)

    assert times == Times(PUBLISHED, SIGNING, VERIFYING)
    for key, wait in ((next_key, PUBLISHED), (active, SIGNING), (retiring, VERIFYING)):
        assert times.changes_at(key) == start + wait
        assert not times.allows_change(key, start + wait - dt.timedelta(microseconds=1))
        assert times.allows_change(key, start + wait)
    assert times.changes_at(SigningKey(state="retired", retired_at=start)) is None


def test_a_key_that_just_stopped_signing_is_verified_for_longer_than_its_last_token_lives(settings: Any) -> None:
    for lifetime in (10, 600, 3600):
        settings.ACCESS_TOKEN_SECONDS = lifetime
        assert Times.of_settings().verifying == dt.timedelta(seconds=lifetime) + key_rotation.LEEWAY


# the schedule


def test_maintain_leads_keys_through_their_whole_life(clock: Clock) -> None:
    key_rotation.maintain()
    first, second = one("active").kid, one("next").kid
    assert (states(), published()) == (["active", "next"], {first, second})

    clock.advance(days=30, seconds=-1)
    assert key_rotation.maintain().keys == ()

    clock.advance(seconds=1)
    changed = key_rotation.maintain()
    third = one("next").kid
    assert [(key.kid, key.state) for key in changed.keys] == [
        (first, "retiring"),
        (second, "active"),
        (third, "next"),
    ]
    assert published() == {first, second, third}

    clock.advance(seconds=609)
    assert key_rotation.maintain().keys == ()
    clock.advance(seconds=1)
    assert [(key.kid, key.state) for key in key_rotation.maintain().keys] == [(first, "retired")]
    assert published() == {second, third}

    assert events() == [
        ("signing_key_created", {"kid": first, "state": "active"}),
        ("signing_key_created", {"kid": second, "state": "next"}),
        ("signing_key_retiring", {"kid": first, "reason": "schedule"}),
        ("signing_key_activated", {"kid": second, "reason": "schedule"}),
        ("signing_key_created", {"kid": third, "state": "next"}),
        ("signing_key_retired", {"kid": first}),
    ]


def test_maintain_never_lets_a_key_sign_that_was_not_published_for_long_enough(clock: Clock) -> None:
    key_rotation.maintain()
    first = one("active").kid
    SigningKey.objects.filter(state="next").delete()
    clock.advance(days=31)  # the job did not run for a month

    assert [key.state for key in key_rotation.maintain().keys] == ["next"]
    clock.advance(seconds=59)
    assert key_rotation.maintain().keys == ()
    assert one("active").kid == first
    clock.advance(seconds=1)
    assert [key.state for key in key_rotation.maintain().keys] == ["retiring", "active", "next"]


def test_maintain_changes_nothing_when_it_runs_again() -> None:
    key_rotation.maintain()
    before = list(SigningKey.objects.values())

    assert key_rotation.maintain().keys == ()
    assert list(SigningKey.objects.values()) == before
    assert len(events()) == 2


# tokens


def test_a_rotation_refuses_no_token_that_is_still_valid(account: dict[str, Any]) -> None:
    key_rotation.maintain()
    old = calls.sign_in()
    SigningKey.objects.filter(state="next").update(created_at=F("created_at") - PUBLISHED)
    key_rotation.rotate()
    new = calls.sign_in()

    assert signer(old) != signer(new)
    assert accepted(old)
    assert accepted(new)

    SigningKey.objects.filter(state="retiring").update(retiring_at=F("retiring_at") - VERIFYING)
    key_rotation.retire()
    assert not accepted(old)
    assert accepted(new)


# by hand


def test_rotate_is_refused_before_the_next_key_was_published_for_long_enough(clock: Clock) -> None:
    key_rotation.maintain()
    first, second = one("active").kid, one("next").kid

    clock.advance(seconds=59)
    with pytest.raises(Refused, match=r"published for 59 s, and may sign after 60 s.*--now"):
        key_rotation.rotate()
    assert one("active").kid == first

    clock.advance(seconds=1)
    key_rotation.rotate()
    assert one("active").kid == second
    assert states() == ["retiring", "active", "next"]
    assert events()[2:4] == [
        ("signing_key_retiring", {"kid": first, "reason": "operator"}),
        ("signing_key_activated", {"kid": second, "reason": "operator"}),
    ]


def test_rotate_is_refused_without_a_next_key_and_done_at_once_on_request(grant: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="no next key"):
        key_rotation.rotate()

    key_rotation.rotate(at_once=True)
    key_rotation.rotate(at_once=True)

    assert states() == ["retiring", "retiring", "active", "next"]
    assert accepted(grant)


def test_a_retiring_key_is_retired_early_only_on_request(grant: dict[str, Any], clock: Clock) -> None:
    key_rotation.rotate(at_once=True)
    kid = one("retiring").kid

    clock.advance(seconds=609)
    assert key_rotation.retire().keys == ()
    with pytest.raises(Refused, match="may be valid until"):
        key_rotation.retire(kid=kid)
    assert accepted(grant)

    key_rotation.retire(kid=kid, at_once=True)
    assert not accepted(grant)
    assert SigningKey.objects.get(kid=kid).state == "retired"


@pytest.mark.parametrize("state", ["next", "active", "retired"])
def test_only_a_retiring_key_can_be_retired(state: str) -> None:
    key_rotation.maintain()
    key_rotation.rotate(at_once=True)
    key_rotation.retire(kid=one("retiring").kid, at_once=True)

    with pytest.raises(Refused, match=f"is {state}; only a retiring key"):
        key_rotation.retire(kid=one(state).kid)


# a key that was stolen


def test_a_revoked_key_is_withdrawn_at_once_and_sessions_go_on(account: dict[str, Any]) -> None:
    key_rotation.maintain()
    grant = calls.sign_in()
    stolen, successor = one("active").kid, one("next").kid

    changed = key_rotation.revoke([stolen])

    assert [(key.kid, key.state) for key in changed.keys][:2] == [(stolen, "retired"), (successor, "active")]
    assert states() == ["retired", "active", "next"]
    assert stolen not in published()
    assert calls.problem(calls.personal("GET", "account", grant["access_token"]))[:2] == (401, "invalid_token")
    renewed = calls.refresh(grant["refresh_token"]).json()
    assert signer(renewed) == successor
    assert accepted(renewed)
    assert events()[2:] == [
        ("signing_key_revoked", {"kid": stolen, "state": "active"}),
        ("signing_key_activated", {"kid": successor, "reason": "revocation"}),
        ("signing_key_created", {"kid": one("next").kid, "state": "next"}),
    ]


def test_all_keys_can_be_revoked_together_and_a_fresh_one_signs(grant: dict[str, Any]) -> None:
    key_rotation.rotate(at_once=True)
    stolen = list(SigningKey.objects.values_list("kid", flat=True))
    assert len(stolen) == 3

    key_rotation.revoke(stolen)

    assert states() == ["retired", "retired", "retired", "active", "next"]
    assert published().isdisjoint(stolen)
    assert accepted(calls.refresh(grant["refresh_token"]).json())


@pytest.mark.parametrize("state", ["next", "retiring"])
def test_revoking_a_key_that_does_not_sign_leaves_the_one_that_does(state: str, grant: dict[str, Any]) -> None:
    key_rotation.rotate(at_once=True)
    active = one("active").kid

    key_rotation.revoke([one(state).kid])

    assert one("active").kid == active
    assert sum(current == "next" for current in states()) == 1


@pytest.mark.parametrize("kid", ["unknown", "", "nul\x00", "é"])
def test_an_unknown_or_retired_key_cannot_be_revoked(kid: str) -> None:
    with pytest.raises(Refused, match="There is no signing key"):
        key_rotation.revoke([kid])

    key_rotation.maintain()
    key_rotation.revoke([one("active").kid])
    active = one("active").kid
    with pytest.raises(Refused, match="is retired"):
        key_rotation.revoke([active, one("retired").kid])
    assert one("active").kid == active


# private halves


def test_a_key_has_a_private_half_only_until_it_stops_signing() -> None:
    key_rotation.maintain()
    for end in ("rotate", "revoke"):
        key = one("active")
        assert key_encryption.decrypt(key)["d"]
        key_rotation.rotate(at_once=True) if end == "rotate" else key_rotation.revoke([key.kid])
        key.refresh_from_db()
        assert (bytes(key.private_half), key.encryption_key_id) == (b"", "")


OLD, NEW = NamedKey("old", b"o" * 32), NamedKey("new", b"n" * 32)


def test_reencryption_leaves_nothing_under_the_old_key(grant: dict[str, Any], settings: Any) -> None:
    settings.KEY_ENCRYPTION_KEYS = (OLD,)
    SigningKey.objects.all().delete()
    key_rotation.maintain()
    settings.KEY_ENCRYPTION_KEYS = (NEW, OLD)
    assert key_rotation.encryption_keys_in_use() == {"new": 0, "old": 2}

    result = key_rotation.reencrypt()

    assert (set(result.done), result.failed) == ({one("active").kid, one("next").kid}, ())
    assert key_rotation.encryption_keys_in_use() == {"new": 2, "old": 0}
    assert events()[-1] == ("signing_key_reencrypted", {"kid": result.done[-1], "from": "old", "to": "new"})
    settings.KEY_ENCRYPTION_KEYS = (NEW,)
    assert accepted(calls.sign_in())
    assert key_rotation.reencrypt() == key_rotation.Reencryption((), ())


def test_a_key_that_does_not_decrypt_is_named_and_never_promoted(settings: Any, clock: Clock) -> None:
    settings.KEY_ENCRYPTION_KEYS = (OLD,)
    key_rotation.maintain()
    lost = one("next").kid
    clock.advance(days=31)
    settings.KEY_ENCRYPTION_KEYS = (NEW,)

    for step in (key_rotation.maintain, key_rotation.rotate):
        with pytest.raises(Refused, match=f"revoke {lost}"):
            step()
    assert len(key_rotation.reencrypt().failed) == 2
    assert key_rotation.encryption_keys_in_use() == {"new": 0, "old": 2}
    assert states() == ["active", "next"]

    key_rotation.revoke([one("active").kid])

    assert key_encryption.decrypt(one("active"))["d"]
    assert SigningKey.objects.get(kid=lost).state == "retired"


# several at a time


def together(step: Callable[[], object], count: int = 4) -> list[BaseException]:
    """Does a step in several threads, each with a connection of its own; returns what they raised."""
    ready = threading.Barrier(count)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            ready.wait()
            step()
        except Exception as error:  # noqa: BLE001 - handed to the test
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.django_db(transaction=True)
def test_maintaining_at_the_same_time_does_no_more_than_once(clock: Clock) -> None:
    assert together(key_rotation.maintain) == []
    assert sorted(states()) == ["active", "next"]

    clock.advance(days=30)
    assert together(key_rotation.maintain) == []
    assert sorted(states()) == ["active", "next", "retiring"]
    assert len(events()) == 5


@pytest.mark.django_db(transaction=True)
def test_of_rotations_at_the_same_time_one_is_done_and_the_others_refused(clock: Clock) -> None:
    key_rotation.maintain()
    clock.advance(seconds=60)

    raised = together(key_rotation.rotate)

    assert [type(error) for error in raised] == [Refused] * 3
    assert sorted(states()) == ["active", "next", "retiring"]


@pytest.mark.django_db(transaction=True)
def test_tokens_are_issued_and_accepted_while_keys_change(transactional_db: None) -> None:
    calls.register()
    grant = calls.sign_in()
    refused: list[int] = []
    over = threading.Event()

    def issue() -> None:
        try:
            token = grant["refresh_token"]
            while not over.is_set():
                answer = calls.refresh(token)
                token = answer.json().get("refresh_token", token)
                if answer.status_code != 200 or not accepted(answer.json()):
                    refused.append(answer.status_code)
        finally:
            connection.close()

    thread = threading.Thread(target=issue)
    thread.start()
    try:
        for _ in range(10):
            key_rotation.rotate(at_once=True)
    finally:
        over.set()
        thread.join()

    assert refused == []
    assert one("active") is not None


def test_verifiers_learn_of_a_key_before_the_default_says_that_it_may_sign() -> None:
    assert tokens.STALE_SECONDS + tokens.FETCH_SECONDS < tokens.KEY_SET_SECONDS <= 60
    assert Times.of_settings().published >= dt.timedelta(seconds=tokens.KEY_SET_SECONDS)
