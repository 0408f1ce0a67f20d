"""The keys that access tokens are signed with, and the signing. How keys follow each other: auth.key_rotation."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connections, router, transaction
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import OKPKey

from auth import audit, key_encryption, rows
from auth.models import SigningKey

ALGORITHM: Final = SigningKey.Algorithm.ED25519.value

_LOCK = 0x5EA_0001  # of pg_advisory_xact_lock: any number, the same in every process


def ensure_active() -> SigningKey:
    """The key that signs now; made, under the lock that all processes share, if there is none yet."""
    return rows.first(SigningKey, "state = %s", [SigningKey.State.ACTIVE]) or _create_first()


def public_jwks() -> dict[str, list[dict[str, str]]]:
    """The JWK Set (RFC 7517) of every key that verifiers must know: next, active and retiring ones."""
    published = list(SigningKey.objects.published())
    if all(key.state != SigningKey.State.ACTIVE for key in published):
        published.append(ensure_active())
    return {"keys": [key.public_jwk for key in published]}


_PUBLISHED = "kid = %s AND state <> %s"  # as SigningKeyQuerySet.published says
_imported: dict[str, tuple[dict[str, Any], OKPKey]] = {}


def _public_key(key: SigningKey) -> OKPKey:
    """The public half; the same object as long as it is the same key, by which a token is known to be verified."""
    imported = _imported.get(key.kid)
    if imported is None or imported[0] != key.public_jwk:
        imported = _imported[key.kid] = (key.public_jwk, OKPKey.import_key(key.public_jwk))
    return imported[1]


class PublishedKeys:
    """The key set by which the auth role itself verifies: straight from the database, so that it is never stale."""

    def key(self, key_id: str) -> OKPKey | None:
        """The public key of that id, if it is published."""
        if not key_id.isprintable():  # PostgreSQL refuses some characters that a forged token may name
            return None
        found = rows.first(SigningKey, _PUBLISHED, [key_id, SigningKey.State.RETIRED])
        return None if found is None else _public_key(found)


def issue_access_token(*, account_id: UUID, session_id: UUID, now: dt.datetime, lifetime: int) -> str:
    """An access token (JWT, RFC 9068) for one session, good for `lifetime` seconds from `now`."""
    key = ensure_active()
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"}
    issued_at = int(now.timestamp())
    claims = {
        "iss": settings.TOKEN_ISSUER,
        "aud": settings.TOKEN_AUDIENCE,
        "sub": str(account_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + lifetime,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(header, claims, _private_key(key), algorithms=[ALGORITHM])


_opened: tuple[tuple[str, bytes], OKPKey] | None = None


def _private_key(key: SigningKey) -> OKPKey:
    """The private half, decrypted. This process keeps that of the key that signs, until another one does."""
    global _opened
    sealed = (key.kid, bytes(key.private_half))
    opened = _opened
    if opened is None or opened[0] != sealed:
        opened = _opened = (sealed, OKPKey.import_key(key_encryption.decrypt(key)))
    return opened[1]


def generate() -> SigningKey:
    """A new key pair without a state, not saved; its kid is the JWK's thumbprint (RFC 7638).

    One whose kid begins with a hyphen is not taken: on a command line it would be an option.
    """
    pair = OKPKey.generate_key("Ed25519", private=True)
    while (kid := pair.thumbprint()).startswith("-"):
        pair = OKPKey.generate_key("Ed25519", private=True)
    public = {**pair.as_dict(private=False), "kid": kid, "alg": ALGORITHM, "use": "sig"}
    key = SigningKey(kid=kid, algorithm=ALGORITHM, public_jwk=public)
    key_encryption.encrypt(key, pair.as_dict(private=True))
    return key


@contextmanager
def locked() -> Iterator[dt.datetime]:
    """A transaction in which nobody else changes signing keys; yields the time at which it got the lock."""
    using = router.db_for_write(SigningKey)
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        yield timezone.now()


def make_active(now: dt.datetime) -> SigningKey:
    """A first key, which signs without having been published before: nobody verifies by another one yet."""
    key = generate()
    key.state, key.created_at, key.activated_at = SigningKey.State.ACTIVE, now, now
    key.save(force_insert=True)
    audit.record(audit.What.SIGNING_KEY_CREATED, details={"kid": key.kid, "state": key.state})
    return key


def _create_first() -> SigningKey:
    with locked() as now:
        return SigningKey.objects.filter(state=SigningKey.State.ACTIVE).first() or make_active(now)
