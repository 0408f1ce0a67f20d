"""The keys that access tokens are signed with, and the signing.

A private half is kept as AES-256-GCM ciphertext under the first of KEY_ENCRYPTION_KEYS, the key id (`kid`) being the
associated data: a ciphertext that is moved to another row does not decrypt.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.db import connections, router, transaction
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import OKPKey

from auth import audit
from auth.models import SigningKey
from internal import keys

ACCESS_TOKEN_LIFETIME: Final = dt.timedelta(minutes=10)
ALGORITHM: Final = SigningKey.Algorithm.ED25519.value

_NONCE_SIZE = 12  # bytes; NIST SP 800-38D, 8.2.2
_CREATION_LOCK = 0x5EA_0001  # of pg_advisory_xact_lock: any number, the same in every process


class UndecryptableKey(Exception):
    """The private half of a signing key cannot be had with the keys in KEY_ENCRYPTION_KEYS."""


def ensure_active() -> SigningKey:
    """The key that signs now; made, under a lock that all processes share, if there is none yet."""
    return SigningKey.objects.filter(state=SigningKey.State.ACTIVE).first() or _create_first()


def public_jwks() -> dict[str, list[dict[str, str]]]:
    """The JWK Set (RFC 7517) of every key that verifiers must know: next, active and retiring ones."""
    ensure_active()
    return {"keys": [key.public_jwk for key in SigningKey.objects.published()]}


class PublishedKeys:
    """The key set by which the auth role itself verifies: straight from the database, so that it is never stale."""

    def key(self, key_id: str) -> OKPKey | None:
        """The public key of that id, if it is published."""
        if not key_id.isprintable():  # PostgreSQL refuses some characters that a forged token may name
            return None
        key = SigningKey.objects.published().filter(kid=key_id).first()
        return None if key is None else OKPKey.import_key(key.public_jwk)


def issue_access_token(*, account_id: UUID, session_id: UUID, now: dt.datetime) -> str:
    """An access token (JWT, RFC 9068) for one session, good for ACCESS_TOKEN_LIFETIME from `now`."""
    key = ensure_active()
    header = {"alg": key.algorithm, "kid": key.kid, "typ": "at+jwt"}
    issued_at = int(now.timestamp())
    claims = {
        "iss": settings.TOKEN_ISSUER,
        "aud": settings.TOKEN_AUDIENCE,
        "sub": str(account_id),
        "sid": str(session_id),
        "iat": issued_at,
        "exp": issued_at + int(ACCESS_TOKEN_LIFETIME.total_seconds()),
        "jti": secrets.token_urlsafe(16),
    }
    private_key = OKPKey.import_key(_decrypt(key))
    return jwt.encode(header, claims, private_key, algorithms=[ALGORITHM])


def _create_first() -> SigningKey:
    using = router.db_for_write(SigningKey)
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CREATION_LOCK])
        made_meanwhile = SigningKey.objects.filter(state=SigningKey.State.ACTIVE).first()
        if made_meanwhile is not None:
            return made_meanwhile
        now = timezone.now()
        key = _generate()
        key.state, key.created_at, key.activated_at = SigningKey.State.ACTIVE, now, now
        key.save(force_insert=True)
        audit.record(audit.What.SIGNING_KEY_CREATED, details={"kid": key.kid, "state": key.state})
    return key


def _generate() -> SigningKey:
    """A new key pair, not saved; its kid is the JWK's thumbprint (RFC 7638)."""
    pair = OKPKey.generate_key("Ed25519", private=True)
    kid = pair.thumbprint()
    public = {**pair.as_dict(private=False), "kid": kid, "alg": ALGORITHM, "use": "sig"}
    encryption_key = settings.KEY_ENCRYPTION_KEYS[0]
    nonce = secrets.token_bytes(_NONCE_SIZE)
    plaintext = json.dumps(pair.as_dict(private=True)).encode()
    return SigningKey(
        kid=kid,
        algorithm=ALGORITHM,
        public_jwk=public,
        private_half=nonce + AESGCM(encryption_key.secret).encrypt(nonce, plaintext, kid.encode()),
        encryption_key_id=encryption_key.id,
    )


def _decrypt(key: SigningKey) -> dict[str, Any]:
    """The private JWK of a signing key.

    Raises:
        UndecryptableKey: its encryption key is not accepted (any more), or the ciphertext was altered.
    """
    encryption_key = keys.find(settings.KEY_ENCRYPTION_KEYS, key.encryption_key_id)
    if encryption_key is None:
        raise UndecryptableKey(
            f"the signing key {key.kid} is encrypted with {key.encryption_key_id!r}, which KEY_ENCRYPTION_KEYS lacks"
        )
    sealed = bytes(key.private_half)
    try:
        plaintext = AESGCM(encryption_key.secret).decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], key.kid.encode())
    except InvalidTag:
        raise UndecryptableKey(f"the signing key {key.kid} does not decrypt with {encryption_key.id!r}") from None
    jwk: dict[str, Any] = json.loads(plaintext)
    return jwk
