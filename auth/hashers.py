"""How passwords are hashed."""

from __future__ import annotations

import base64
import secrets

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id as OWASP's Password Storage Cheat Sheet asks for: 19 MiB, two passes, one lane (about 50 ms).

    Django's defaults take 100 MiB and eight lanes for every sign-in at once.
    """

    memory_cost = 19_456  # KiB
    time_cost = 2
    parallelism = 1


def unmatchable_hash() -> str:
    """A well-formed hash that no password is known for, with the parameters of Argon2idHasher.

    Checking any password against it takes as long as checking one against a real hash.
    """
    cost = f"m={Argon2idHasher.memory_cost},t={Argon2idHasher.time_cost},p={Argon2idHasher.parallelism}"
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"{Argon2idHasher.algorithm}$argon2id$v=19${cost}${salt}${digest}"
