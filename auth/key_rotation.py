"""How signing keys follow each other: next → active → retiring → retired.

A key is published as `next` before it may sign, for as long as a verifier may work with a key set that does not have it
yet. When it becomes `active`, the key before it becomes `retiring`: its private half is erased, and its public half
stays published until every token that it signed has expired. Then it is `retired`. A key that was stolen is revoked:
retired from any state, at once.

Each step here is one transaction under a lock that all processes share. The pure part, which moment allows what, is
`Times`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.utils import timezone

from auth import audit, key_encryption, signing_keys
from auth.key_encryption import UndecryptableKey
from auth.models import SigningKey
from internal.tokens import REFETCH_SECONDS

State = SigningKey.State

LEEWAY: Final = dt.timedelta(seconds=10)
"""How long after the last token of a key has expired it stays published: for a call that was signing when the key
stopped (3 s at most), and for clocks that differ."""


class Refused(Exception):
    """A step that would reject good tokens, or cannot be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Times:
    """How long a key is in each state.

    Attributes:
        published: before it may sign.
        signing: before the next key takes over.
        verifying: after it has stopped signing, until no token of it can be valid.
    """

    published: dt.timedelta
    signing: dt.timedelta
    verifying: dt.timedelta

    @classmethod
    def of_settings(cls) -> Times:
        """Those that SIGNING_KEY_PUBLISH_SECONDS, SIGNING_KEY_DAYS and ACCESS_TOKEN_SECONDS amount to."""
        return cls(
            published=dt.timedelta(seconds=settings.SIGNING_KEY_PUBLISH_SECONDS),
            signing=dt.timedelta(days=settings.SIGNING_KEY_DAYS),
            verifying=dt.timedelta(seconds=settings.ACCESS_TOKEN_SECONDS) + LEEWAY,
        )

    def changes_at(self, key: SigningKey) -> dt.datetime | None:
        """From when on the key may go to its next state (a next or retiring one), or is due to (an active one)."""
        match key.state:
            case State.NEXT:
                return key.created_at + self.published
            case State.ACTIVE:
                return _known(key.activated_at) + self.signing
            case State.RETIRING:
                return _known(key.retiring_at) + self.verifying
            case _:
                return None

    def allows_change(self, key: SigningKey, now: dt.datetime) -> bool:
        """Whether that moment has come."""
        moment = self.changes_at(key)
        return moment is not None and now >= moment


@dataclass(frozen=True, slots=True)
class Changes:
    """The keys that a step has changed, each with its new state."""

    keys: tuple[SigningKey, ...]

    def in_state(self, state: State) -> tuple[SigningKey, ...]:
        """Those that are in this state now."""
        return tuple(key for key in self.keys if key.state == state)


def maintain() -> Changes:
    """Does what is due: an idempotent step, for a job that runs often; two at the same time do no more than one.

    There is an active key and a next one. The next one takes over when the active one has signed for long enough, and
    not before it has been published for long enough. What has been retiring for long enough is retired.

    Raises:
        Refused: the next key is due, and its private half does not decrypt.
    """
    times = Times.of_settings()
    with signing_keys.locked() as now:
        changed = [_retire(key, now) for key in _in(State.RETIRING) if times.allows_change(key, now)]
        active = _one(State.ACTIVE)
        if active is None:
            changed.append(signing_keys.make_active(now))
        elif times.allows_change(active, now):
            successor = _one(State.NEXT)
            if successor is not None and times.allows_change(successor, now):
                changed += _hand_over(active, successor, now, "schedule")
        return Changes((*changed, *_prepare(now)))


def rotate(*, at_once: bool = False) -> Changes:
    """The next key signs from now on; the active one is retiring, and there is a new next one.

    Args:
        at_once: even if verifiers may not know the key yet, or if there is no next key and one must be made. They
            fetch a key that they do not know, at most every REFETCH_SECONDS, and refuse its tokens meanwhile.

    Raises:
        Refused: the next key has not been published for long enough, there is none, or it does not decrypt.
    """
    times = Times.of_settings()
    with signing_keys.locked() as now:
        active, successor = _one(State.ACTIVE), _one(State.NEXT)
        if not at_once:
            _require_published(successor, times, now)
        return Changes((*_hand_over(active, successor or _make_next(now), now, "operator"), *_prepare(now)))


def retire(*, kid: str | None = None, at_once: bool = False) -> Changes:
    """Withdraws the retiring keys of which no valid token can be left, or one of them.

    Args:
        kid: this one only.
        at_once: even if tokens of it are still valid: they are refused from now on (needs a kid).

    Raises:
        Refused: the key of that id is not a retiring one, or tokens of it may still be valid.
    """
    times = Times.of_settings()
    with signing_keys.locked() as now:
        due = [key for key in _in(State.RETIRING) if times.allows_change(key, now)]
        if kid is not None:
            chosen = _known_key(kid)
            if chosen.state != State.RETIRING:
                raise Refused(
                    f"The key {kid} is {chosen.state}; only a retiring key can be retired. Put another one in an "
                    "active key's place with `rotate`; withdraw a stolen one with `revoke`."
                )
            if not at_once and not times.allows_change(chosen, now):
                raise Refused(
                    f"Tokens of the key {kid} may be valid until {_moment(times.changes_at(chosen))}. Retire it then, "
                    "or with --now: its tokens are refused from that moment, and people get new ones by refreshing."
                )
            due = [chosen]
        return Changes(tuple(_retire(key, now) for key in due))


def revoke(kids: Iterable[str]) -> Changes:
    """Withdraws stolen keys at once, whatever their state; another one signs if an active one is among them.

    The next key takes over, published for long enough or not, and a fresh one where there is none that decrypts. No
    session ends: access tokens of the revoked keys are refused, and refresh tokens, which no key signs, yield new ones.

    Raises:
        Refused: there is no such key, or it is retired already.
    """
    with signing_keys.locked() as now:
        stolen = [_known_key(kid) for kid in dict.fromkeys(kids)]
        for key in stolen:
            if key.state == State.RETIRED:
                raise Refused(f"The key {key.kid} is retired: no token of it is accepted.")
        changed = [_revoke(key, now) for key in stolen]
        if _one(State.ACTIVE) is None:
            changed += _hand_over(None, _usable_next() or _make_next(now), now, "revocation")
        return Changes((*changed, *_prepare(now)))


@dataclass(frozen=True, slots=True)
class Reencryption:
    """What came of encrypting private halves anew.

    Attributes:
        done: ids of the keys that are under the first encryption key now and were not before.
        failed: a sentence for each key that cannot be decrypted.
    """

    done: tuple[str, ...]
    failed: tuple[str, ...]


def reencrypt() -> Reencryption:
    """Encrypts every private half with the first of KEY_ENCRYPTION_KEYS, whichever it is under now."""
    done, failed = [], []
    first = settings.KEY_ENCRYPTION_KEYS[0].id
    with signing_keys.locked():
        for key in SigningKey.objects.filter(state__in=[State.NEXT, State.ACTIVE]).exclude(encryption_key_id=first):
            before = key.encryption_key_id
            try:
                key_encryption.encrypt(key, key_encryption.decrypt(key))
            except UndecryptableKey as error:
                failed.append(str(error))
                continue
            key.save(update_fields=["private_half", "encryption_key_id"])
            _record(audit.What.SIGNING_KEY_REENCRYPTED, key, {"from": before, "to": first})
            done.append(key.kid)
    return Reencryption(tuple(done), tuple(failed))


def encryption_keys_in_use() -> dict[str, int]:
    """How many private halves are under each encryption key, by its id; those that are accepted are all named."""
    used = Counter(SigningKey.objects.exclude(encryption_key_id="").values_list("encryption_key_id", flat=True))
    return {key.id: 0 for key in settings.KEY_ENCRYPTION_KEYS} | dict(used)


# Single changes, inside the transaction of a step


def _prepare(now: dt.datetime) -> list[SigningKey]:
    """A next key, if there is none."""
    return [] if _one(State.NEXT) else [_make_next(now)]


def _make_next(now: dt.datetime) -> SigningKey:
    key = signing_keys.generate()
    key.state, key.created_at = State.NEXT, now
    key.save(force_insert=True)
    _record(audit.What.SIGNING_KEY_CREATED, key, {"state": key.state})
    return key


def _hand_over(active: SigningKey | None, successor: SigningKey, now: dt.datetime, reason: str) -> list[SigningKey]:
    try:
        key_encryption.decrypt(successor)
    except UndecryptableKey as error:
        raise Refused(
            f"The next key cannot sign: {error}. Give KEY_ENCRYPTION_KEYS its key again, or withdraw it with "
            f"`revoke {successor.kid}`."
        ) from None
    changed = []
    if active is not None:
        active.state, active.retiring_at = State.RETIRING, now
        key_encryption.erase(active)
        active.save(update_fields=["state", "retiring_at", "private_half", "encryption_key_id"])
        _record(audit.What.SIGNING_KEY_RETIRING, active, {"reason": reason})
        changed.append(active)
    successor.state, successor.activated_at = State.ACTIVE, now
    successor.save(update_fields=["state", "activated_at"])
    _record(audit.What.SIGNING_KEY_ACTIVATED, successor, {"reason": reason})
    return [*changed, successor]


def _retire(key: SigningKey, now: dt.datetime) -> SigningKey:
    key.state, key.retired_at = State.RETIRED, now
    key.save(update_fields=["state", "retired_at"])
    _record(audit.What.SIGNING_KEY_RETIRED, key, {})
    return key


def _revoke(key: SigningKey, now: dt.datetime) -> SigningKey:
    before = key.state
    key.state, key.retired_at = State.RETIRED, now
    key_encryption.erase(key)
    key.save(update_fields=["state", "retired_at", "private_half", "encryption_key_id"])
    _record(audit.What.SIGNING_KEY_REVOKED, key, {"state": before})
    return key


def _usable_next() -> SigningKey | None:
    """The next key if it decrypts; one that does not is withdrawn, since there can be one next key only."""
    key = _one(State.NEXT)
    if key is not None:
        try:
            key_encryption.decrypt(key)
        except UndecryptableKey:
            _revoke(key, timezone.now())
            return None
    return key


def _require_published(key: SigningKey | None, times: Times, now: dt.datetime) -> None:
    cost = (
        f"rotate --now does not wait: verifiers then refuse tokens of the new key until they have fetched it, "
        f"{REFETCH_SECONDS:g} s at most while they reach auth."
    )
    if key is None:
        raise Refused(f"There is no next key yet: `maintain` makes one. Or {cost}")
    if not times.allows_change(key, now):
        raise Refused(
            f"The next key {key.kid} has been published for {(now - key.created_at).total_seconds():.0f} s, and may "
            f"sign after {times.published.total_seconds():.0f} s, at {_moment(times.changes_at(key))}: verifiers may "
            f"not know it yet. Try again then. Or {cost}"
        )


def _known_key(kid: str) -> SigningKey:
    key = SigningKey.objects.filter(kid=kid).first() if kid.isprintable() else None
    if key is None:
        raise Refused(f"There is no signing key {kid!r}. `list` shows those that there are.")
    return key


def _in(state: State) -> Iterable[SigningKey]:
    return SigningKey.objects.filter(state=state).order_by("created_at")


def _one(state: State) -> SigningKey | None:
    """The next or active key, of which there is one at most."""
    return SigningKey.objects.filter(state=state).first()


def _record(what: audit.What, key: SigningKey, details: dict[str, str]) -> None:
    audit.record(what, details={"kid": key.kid, **details})


def _known(moment: dt.datetime | None) -> dt.datetime:
    assert moment is not None  # the table's constraint: each state has its dates
    return moment


def _moment(moment: dt.datetime | None) -> str:
    return f"{_known(moment):%Y-%m-%d %H:%M:%S} UTC"
