"""Passwords: which are accepted, how they are compared, and how many are hashed at once.

Settings import PASSWORD_VALIDATORS from here, so nothing in this module may need settings while it is imported.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from time import thread_time
from typing import Any, Final

from django.contrib.auth import hashers, password_validation
from django.core.exceptions import ValidationError
from django.db import connections
from zxcvbn import zxcvbn

from auth import metrics
from auth.hashers import unmatchable_hash

MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128
LEAST_STRENGTH: Final = 3  # of zxcvbn's 0 to 4: "safely unguessable", more than 10**8 guesses

# zxcvbn tries every combination of the letters that such characters may stand for: with twenty of them in one password
# it works for seconds.
JUDGED_LENGTH: Final = 72
STRETCH_LENGTH: Final = 32
STRETCH_SUBSTITUTES: Final = 10
SUBSTITUTES: Final = frozenset("4@8({[<369!1|70$5+%2")

PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("name", "email")},
    },
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": MIN_LENGTH},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "auth.passwords.StrengthValidator", "OPTIONS": {"least_strength": LEAST_STRENGTH}},
]

# A hash takes 19 MiB and one core while it lasts. The number does not follow that of the machine's cores: a container
# may use few of them, and its memory limit is planned with workers x this x 19 MiB.
PARALLEL_HASHES: Final = 2
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
        password: as the person typed it. Its length is that of the shorter of its forms, typed and normalised: a
            letter that one keyboard sends as three code points is one character, and so is one that NFKC spells out.
        account: has the attributes `name` and `email`, which the password must not resemble.

    Raises:
        ValidationError: each of its errors has a message and a code.
    """
    candidate = normalised(password)
    if min(len(password), len(candidate)) > MAX_LENGTH:
        raise ValidationError(
            f"This password is too long. It must contain at most {MAX_LENGTH} characters.", code="password_too_long"
        )
    password_validation.validate_password(candidate, account)  # type: ignore[arg-type]


def hash_password(password: str, *, wait: float = LONGEST_WAIT) -> str:
    """The hash to store for a password; waits at most `wait` seconds for its turn.

    Raises:
        HashingBusy: its turn did not come.
    """
    with _turn(wait), _counted():
        return hashers.make_password(normalised(password))


def matches(password: str, password_hash: str | None, *, wait: float = LONGEST_WAIT) -> bool:
    """Whether the password is the one that was hashed; waits at most `wait` seconds for its turn.

    Without a hash (there is no such account) it does the same work and says no.

    Raises:
        HashingBusy: its turn did not come.
    """
    with _turn(wait), _counted():
        return hashers.check_password(normalised(password), password_hash or _NOBODYS_HASH)


def renewed(password: str, password_hash: str, *, wait: float = LONGEST_WAIT) -> str | None:
    """The hash to store from now on for a password that was right; None if the stored one will do.

    A hash of other parameters than those in force is made anew, unless the hashing is busy: then the next sign-in will.
    """
    hasher = hashers.get_hasher()
    if password_hash.startswith(f"{hasher.algorithm}$") and not hasher.must_update(password_hash):
        return None
    try:
        return hash_password(password, wait=wait)
    except HashingBusy:
        return None


@contextmanager
def _turn(wait: float) -> Iterator[None]:
    _release_connections()
    if not _turns.acquire(timeout=max(0.0, min(wait, LONGEST_WAIT))):
        raise HashingBusy
    try:
        yield
    finally:
        _turns.release()


@contextmanager
def _counted() -> Iterator[None]:
    started = thread_time()
    try:
        yield
    finally:
        metrics.HASHES.inc()
        metrics.HASHING_SECONDS.inc(thread_time() - started)


def _release_connections() -> None:
    """Gives this thread's database connection back to the pool: hashing, and waiting for a turn, needs none."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


class StrengthValidator:
    """Refuses a password that zxcvbn could guess soon, and says how to better it.

    It is judged in stretches that take zxcvbn some 100 ms at most: a password is as strong as its strongest stretch, at
    least. The hints are those for the first one.

    Source: Wheeler, "zxcvbn: low-budget password strength estimation", USENIX Security 2016.
    """

    def __init__(self, least_strength: int = LEAST_STRENGTH) -> None:
        self.least_strength = least_strength

    def validate(self, password: str, user: object = None) -> None:
        """Raises ValidationError with the code password_too_weak; its message has zxcvbn's hints."""
        about_the_person = [str(getattr(user, attribute, "") or "") for attribute in ("name", "email")]
        words = [word for text in about_the_person for word in (text, *text.replace("@", " ").split()) if word]
        feedback: dict[str, Any] = {}
        for stretch in _stretches(password[:JUDGED_LENGTH]):
            verdict = zxcvbn(stretch, user_inputs=words)
            if verdict["score"] >= self.least_strength:
                return
            feedback = feedback or verdict["feedback"]
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


def _stretches(password: str) -> Iterator[str]:
    """Cuts where STRETCH_LENGTH is reached, or where one more substitute would be one too many."""
    stretch, substitutes = "", frozenset[str]()
    for character in password:
        more = substitutes | (SUBSTITUTES & {character})
        if len(stretch) == STRETCH_LENGTH or len(more) > STRETCH_SUBSTITUTES:
            yield stretch
            stretch, more = "", SUBSTITUTES & {character}
        stretch, substitutes = stretch + character, more
    yield stretch
