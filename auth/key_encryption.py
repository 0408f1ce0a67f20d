"""The private halves of signing keys, as they are kept: AES-256-GCM under the first of KEY_ENCRYPTION_KEYS.

The key id (`kid`) is the associated data: a ciphertext that is moved to another row does not decrypt.
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from auth.models import SigningKey
from internal import keys

NONCE_SIZE: Final = 12  # bytes; NIST SP 800-38D, 8.2.2


class UndecryptableKey(Exception):
    """The private half of a signing key cannot be had with the keys in KEY_ENCRYPTION_KEYS."""


def encrypt(key: SigningKey, private_jwk: dict[str, Any]) -> None:
    """Sets the private half of a signing key, under the first encryption key; does not save it."""
    encryption_key = settings.KEY_ENCRYPTION_KEYS[0]
    nonce = secrets.token_bytes(NONCE_SIZE)
    plaintext = json.dumps(private_jwk).encode()
    key.private_half = nonce + AESGCM(encryption_key.secret).encrypt(nonce, plaintext, key.kid.encode())
    key.encryption_key_id = encryption_key.id


def decrypt(key: SigningKey) -> dict[str, Any]:
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
        plaintext = AESGCM(encryption_key.secret).decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], key.kid.encode())
    except InvalidTag:
        raise UndecryptableKey(f"the signing key {key.kid} does not decrypt with {encryption_key.id!r}") from None
    jwk: dict[str, Any] = json.loads(plaintext)
    return jwk


def erase(key: SigningKey) -> None:
    """Forgets the private half of a signing key; does not save it."""
    key.private_half, key.encryption_key_id = b"", ""
