"""Passwords: which are accepted, how they are compared, and how many are hashed at once.

Settings import PASSWORD_VALIDATORS from here, so nothing in this module may need settings while it is imported.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.contrib.auth import hashers, password_validation
from django.core.exceptions import ValidationError
from zxcvbn import zxcvbn

from auth.hashers import unmatchable_hash

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 72
LEAST_STRENGTH: Final = 3  # of zxcvbn's 0 to 4: "safely unguessable", more than 10**8 guesses

PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("name", "email")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": MIN_LENGTH},
    },
    {"NAME": "auth.passwords.MaximumLengthValidator", "OPTIONS": {"max_length": MAX_LENGTH}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "auth.passwords.StrengthValidator", "OPTIONS": {"least_strength": LEAST_STRENGTH}},
]

# A hash takes 19 MiB and one core while it lasts; more at once would only take longer, each of them.
PARALLEL_HASHES: Final = max(2, os.cpu_count() or 1)
LONGEST_WAIT: Final = 2.0  # seconds for a turn, of the 3 s that a caller of the gateway waits for everything

_turns = threading.BoundedSemaphore(PARALLEL_HASHES)
_NOBODYS_HASH = unmatchable_hash()


class HashingBusy(Exception):
    """So many passwords are being hashed that this one did not get its turn in time."""


def normalised(password: str) -> str:
    """The password in Unicode's form NFKC, so that it is the same from every keyboard (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def validate(password: str, *, account: object) -> None:
    """Holds a new password against the rules.

    Args:
        password: as the person typed it.
        account: has the attributes `name` and `email`, which the password must not resemble.

    Raises:
        ValidationError: each of its errors has a message and a code.
    """
    candidate = normalised(password)
    MaximumLengthValidator(MAX_LENGTH).validate(candidate)
    password_validation.validate_password(candidate, account)  # type: ignore[arg-type]


def hash_password(password: str, *, wait: float = LONGEST_WAIT) -> str:
    """The hash to store for a password; waits at most `wait` seconds for its turn.

    Raises:
        HashingBusy: its turn did not come.
    """
    with _turn(wait):
        return hashers.make_password(normalised(password))


def matches(password: str, password_hash: str | None, *, wait: float = LONGEST_WAIT) -> bool:
    """Whether the password is the one that was hashed; waits at most `wait` seconds for its turn.

    Without a hash (there is no such account) it does the same work and says no.

    Raises:
        HashingBusy: its turn did not come.
    """
    with _turn(wait):
        return hashers.check_password(normalised(password), password_hash or _NOBODYS_HASH)


@contextmanager
def _turn(wait: float) -> Iterator[None]:
    if not _turns.acquire(timeout=max(0.0, min(wait, LONGEST_WAIT))):
        raise HashingBusy
    try:
        yield
    finally:
        _turns.release()


class MaximumLengthValidator:
    """Refuses a password of more than `max_length` characters."""

    def __init__(self, max_length: int = MAX_LENGTH) -> None:
        self.max_length = max_length

    def validate(self, password: str, user: object = None) -> None:
        """Raises ValidationError with the code password_too_long."""
        if len(password) > self.max_length:
            raise ValidationError(
                f"This password is too long. It must contain at most {self.max_length} characters.",
                code="password_too_long",
            )

    def get_help_text(self) -> str:
        """The rule, for a form."""
        return f"Your password must contain at most {self.max_length} characters."


class StrengthValidator:
    """Refuses a password that zxcvbn could guess soon, and says how to better it.

    Source: Wheeler, "zxcvbn: low-budget password strength estimation", USENIX Security 2016.
    """

    def __init__(self, least_strength: int = LEAST_STRENGTH) -> None:
        self.least_strength = least_strength

    def validate(self, password: str, user: object = None) -> None:
        """Raises ValidationError with the code password_too_weak; its message has zxcvbn's hints."""
        about_the_person = [str(getattr(user, attribute, "") or "") for attribute in ("name", "email")]
        words = [word for text in about_the_person for word in (text, *text.replace("@", " ").split()) if word]
        verdict = zxcvbn(password[:MAX_LENGTH], user_inputs=words)
        if verdict["score"] >= self.least_strength:
            return
        feedback = verdict["feedback"]
        warning = feedback["warning"].rstrip(".")
        hints = [f"{hint.rstrip('.')}." for hint in feedback["suggestions"]]
        reason = f"{warning}." if warning else "It is too easy to guess."
        raise ValidationError(
            " ".join(["This password is too weak.", reason, *(hints or ["Add another word or two."])]),
            code="password_too_weak",
        )

    def get_help_text(self) -> str:
        """The rule, for a form."""
        return "Your password must be hard to guess: several uncommon words are better than one with odd letters."
