"""Verification of access tokens (JWT, Ed25519) by any role on its own, from a cached key set.

The key set outlives an outage of auth: the last good one is kept in memory and, where JWKS_CACHE_FILE names a file,
on disk, for processes that start during the outage. A token with an unknown key id leads to a new fetch, at a bounded
rate.

While auth can be reached, no token is judged by a key set that is older than KEY_SET_SECONDS. Two promises rest on
that figure: a key that auth publishes is known to every verifier after that time, so that it may sign; and a key that
auth withdraws, because it was stolen, is refused by every verifier after that time.
Sources: RFC 7519 (JWT), RFC 7517 (JWK sets), RFC 8037 and RFC 9864 (Ed25519).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from uuid import UUID

import structlog
from django.conf import settings
from django.utils.module_loading import import_string
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode

from internal import context, problems, turns
from internal.errors import InvalidReply, ServiceError, Unavailable
from internal.problems import Problem, ProblemError
from internal.transport import Transport

log = structlog.get_logger(__name__)

ALGORITHM = "Ed25519"
FRESH_SECONDS = 5.0  # after that a key set is fetched anew, while the old one goes on serving
STALE_SECONDS = 10.0  # if nobody has tried for that long (no token came), the token that comes waits for the fetch
FETCH_SECONDS = 0.4  # how long a fetch may take for which a token waits
BACKGROUND_FETCH_SECONDS = 2.0  # how long one may take for which nobody waits
PREFETCH_SECONDS = 2.0  # how long a worker that starts goes on asking
_PREFETCH_PAUSE = 0.2
REFETCH_SECONDS = 2.0  # at most one fetch in this time for key ids that are not known
RETRY_SECONDS = 1.0  # at most one fetch in this time after one that failed, or while there is no key set at all
KEY_SET_SECONDS = 15  # STALE_SECONDS and FETCH_SECONDS, and some for clocks and for what auth has yet to commit
TOKEN_LIMIT = 4096  # characters

KeySetDocument = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says: whose it is, which session it belongs to, and from when until when."""

    subject: UUID
    session: UUID
    issued_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Verified:
    """A token that was verified: what it says, and the key that its signature was verified with."""

    claims: Claims
    key_id: str
    key: OKPKey

    def has_expired(self) -> bool:
        """Whether its time is over."""
        return time.time() >= self.claims.expires_at.timestamp()

    def holds(self) -> bool:
        """Whether it would be verified once more: it has not expired, and its key is published still."""
        try:
            return not self.has_expired() and key_set().key(self.key_id) is self.key
        except Unavailable:
            return False


class JwksCache:
    """The public keys that sign access tokens, by key id.

    Args:
        load: fetches the key set document before the current deadline; raises ServiceError if it cannot.
        cache_file: where the last good document is kept, or None.
    """

    def __init__(self, load: Callable[[], KeySetDocument], cache_file: Path | None = None) -> None:
        self._load = load
        self._cache_file = cache_file
        self._lock = threading.Lock()  # held by the one that fetches
        self._keys: dict[str, OKPKey] = {}
        self._as_of = float("-inf")  # when the fetch that brought the keys began
        self._tried_at = float("-inf")  # when the last attempt ended
        self._reached = False  # whether it brought a key set

    def key(self, key_id: str) -> OKPKey | None:
        """The key of that id; None if auth does not publish it.

        Raises:
            Unavailable: no key set was ever had, or the key is not known and auth cannot be asked about it.
        """
        if not self._keys:
            self._first_fetch()
        is_known_now = True
        if key_id not in self._keys:
            is_known_now = self._fetch_unless_tried_within(REFETCH_SECONDS)
        elif time.monotonic() - self._as_of > FRESH_SECONDS:
            if time.monotonic() - self._tried_at > STALE_SECONDS:
                self._fetch_unless_tried_within(STALE_SECONDS)
            else:
                self._refresh_in_background()
        key = self._keys.get(key_id)
        if key is None and not (is_known_now and self._reached):
            raise Unavailable("auth", "the key may be a new one, and auth cannot be asked")
        return key

    def prefetch(self) -> None:
        """Gets the key set before the first token comes, if auth gives one soon; else the first token asks for it."""
        with self._lock:
            self._read_cache_file()
            deadline = time.monotonic() + PREFETCH_SECONDS
            self._fetch(BACKGROUND_FETCH_SECONDS)
            while not self._reached and time.monotonic() < deadline:
                time.sleep(_PREFETCH_PAUSE)
                self._fetch(BACKGROUND_FETCH_SECONDS)

    def _first_fetch(self) -> None:
        with self._turn() as is_ours:
            if self._keys:
                return
            if is_ours:
                self._read_cache_file()
                if not self._keys and time.monotonic() - self._tried_at >= RETRY_SECONDS:
                    self._fetch()
        if not self._keys:
            raise Unavailable("auth", "no key set could be had yet")

    def _fetch_unless_tried_within(self, seconds: float) -> bool:
        """False if somebody else is trying still."""
        with self._turn() as is_ours:
            if is_ours and time.monotonic() - self._tried_at > seconds:
                self._fetch()
        return is_ours

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """The block may fetch if this gives True. Nobody waits longer for another one's fetch than for their own."""
        with context.within(FETCH_SECONDS) as deadline:
            is_ours = self._lock.acquire(blocking=False)
            if not is_ours:
                with turns.waiting():
                    is_ours = self._lock.acquire(timeout=max(0.0, deadline.remaining()))
        try:
            yield is_ours
        finally:
            if is_ours:
                self._lock.release()

    def _refresh_in_background(self) -> None:
        pause = FRESH_SECONDS if self._reached else RETRY_SECONDS
        if time.monotonic() - self._tried_at <= pause or not self._lock.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._refresh, name="jwks-refresh", daemon=True).start()
        except BaseException:
            self._lock.release()
            raise

    def _refresh(self) -> None:
        try:
            self._fetch(BACKGROUND_FETCH_SECONDS)
        finally:
            self._lock.release()

    def _fetch(self, seconds: float = FETCH_SECONDS) -> None:
        """Replaces the key set if auth gives one within so many seconds, and in time; the lock is held."""
        began = time.monotonic()
        try:
            with context.within(seconds):
                document = self._load()
            keys = _keys_in(document, self._keys)
        except ServiceError as error:
            self._reached = False
            log.warning("key_set_fetch_failed", reason=str(error), keys_kept=len(self._keys))
            return
        finally:
            self._tried_at = time.monotonic()
        changed = keys.keys() != self._keys.keys()
        self._keys, self._as_of, self._reached = keys, began, True
        if changed:
            log.info("key_set_changed", key_ids=sorted(keys))
            self._write_cache_file(document)

    def _read_cache_file(self) -> None:
        if self._cache_file is None:
            return
        try:
            self._keys = _keys_in(json.loads(self._cache_file.read_text()))
            log.info("key_set_read_from_cache", key_ids=sorted(self._keys))
        except FileNotFoundError:
            return
        except (OSError, ValueError, InvalidReply) as error:
            log.warning("key_set_cache_unreadable", reason=str(error))

    def _write_cache_file(self, document: KeySetDocument) -> None:
        if self._cache_file is None:
            return
        try:
            handle, name = tempfile.mkstemp(dir=self._cache_file.parent, prefix=".jwks-")
            with os.fdopen(handle, "w") as file:
                json.dump(document, file)
            os.replace(name, self._cache_file)
        except OSError as error:
            log.warning("key_set_cache_not_written", reason=str(error))


def _keys_in(document: Any, known: Mapping[str, OKPKey] = MappingProxyType({})) -> dict[str, OKPKey]:
    """The keys by id; one that is known already stays the same object, which `Verified.holds` compares."""
    try:
        imported = (OKPKey.import_key(jwk) for jwk in document["keys"] if jwk.get("crv") == ALGORITHM)
        keys = {str(key.as_dict(private=False)["kid"]): key for key in imported}
        for key_id, key in keys.items():
            if key_id in known and known[key_id].as_dict(private=False) == key.as_dict(private=False):
                keys[key_id] = known[key_id]
    except (JoseError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidReply("auth", f"the key set is malformed: {type(error).__name__}") from None
    if not keys:
        raise InvalidReply("auth", "the key set has no key")
    return keys


def _fetch_from_auth(transport: Transport) -> KeySetDocument:
    document = transport.call("jwks", "GET", "/internal/v1/jwks").json
    if not isinstance(document, dict):
        raise InvalidReply("auth", "the key set is not an object")
    return document


class KeySet(Protocol):
    """Where verification finds public keys."""

    def key(self, key_id: str) -> OKPKey | None:
        """The key of that id; None if tokens of it are not accepted."""


@cache
def key_set() -> KeySet:
    """The key set of this process: the class that TOKEN_KEY_SET names, where it is set, else auth's at AUTH_URL."""
    own = getattr(settings, "TOKEN_KEY_SET", None)
    if own is not None:
        made: KeySet = import_string(own)()
        return made
    transport = Transport("auth", settings.AUTH_URL, pool_size=1)
    cache_file = Path(settings.JWKS_CACHE_FILE) if settings.JWKS_CACHE_FILE else None
    return JwksCache(lambda: _fetch_from_auth(transport), cache_file)


def prefetch() -> None:
    """Has the public keys there before the worker says that it serves: its first request need not wait for auth.

    It asks again for PREFETCH_SECONDS, because the network of a new pod admits it only when its policies are in place,
    a moment after it has started. It never fails: a role starts without auth, a little later.
    """
    cache = key_set()
    if isinstance(cache, JwksCache):
        cache.prefetch()


_registry = jwt.JWTClaimsRegistry(
    iss={"essential": True}, aud={"essential": True}, sub={"essential": True}, exp={"essential": True}
)


_KEPT = 4096  # tokens; a signature takes 0.3 ms to verify
_verified: OrderedDict[tuple[str, str, str], Verified] = OrderedDict()
_verified_lock = threading.Lock()  # for those who write


def verify(token: str) -> Claims:
    """Verifies an access token.

    Raises:
        ProblemError: token_expired, or invalid_token for anything else that is wrong with it.
        Unavailable: no key set could be had yet, or the token's key is not known and auth cannot be asked about it.
    """
    return verified(token).claims


def verified(token: str) -> Verified:
    """Verifies an access token, its signature only once: who verified it before looks whether that still holds.

    Raises:
        ProblemError, Unavailable: as `verify`.
    """
    kept_as = (token, settings.TOKEN_ISSUER, settings.TOKEN_AUDIENCE)
    kept = _verified.get(kept_as)
    if kept is not None and kept.holds():
        return kept
    new = _verify(token)
    with _verified_lock:
        _verified[kept_as] = new
        while len(_verified) > _KEPT:
            _verified.popitem(last=False)
    return new


def _verify(token: str) -> Verified:
    if len(token) > TOKEN_LIMIT:
        raise ProblemError(_invalid())
    try:
        header = _header_of(token)
        key_id = header.get("kid")
        if header.get("alg") != ALGORITHM or not isinstance(key_id, str):
            raise ProblemError(_invalid())
        key = key_set().key(key_id)
        if key is None:
            raise ProblemError(_invalid())
        claims = jwt.decode(token, key, algorithms=[ALGORITHM]).claims
        if claims.get("iss") != settings.TOKEN_ISSUER or claims.get("aud") != settings.TOKEN_AUDIENCE:
            raise ProblemError(_invalid())
        _registry.validate(claims)
        read = Claims(
            subject=UUID(claims["sub"]),
            session=UUID(claims["sid"]),
            issued_at=dt.datetime.fromtimestamp(claims["iat"], dt.UTC),
            expires_at=dt.datetime.fromtimestamp(claims["exp"], dt.UTC),
        )
        return Verified(read, key_id, key)
    except ExpiredTokenError:
        raise ProblemError(
            Problem("token_expired", "The access token has expired: get a new one with the refresh token.")
        ) from None
    except (JoseError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ProblemError(_invalid()) from None


def claimed_subject(token: str) -> UUID | None:
    """Whose token it says it is, not verified: enough to forget what is kept about somebody, and for nothing else."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        return UUID(json.loads(urlsafe_b64decode(token.split(".")[1].encode("ascii")))["sub"])
    return None


def _header_of(token: str) -> dict[str, Any]:
    """The header of a compact token, not verified: it only says which key to look up."""
    encoded, _, rest = token.partition(".")
    if rest.count(".") != 1:
        raise ValueError("not a compact token")
    header = json.loads(urlsafe_b64decode(encoded.encode("ascii")))
    if not isinstance(header, dict):
        raise TypeError("the header is not an object")
    return header


def _invalid() -> problems.Problem:
    return Problem("invalid_token", "The access token is not valid: sign in again.")
