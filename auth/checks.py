"""Rules between settings that the app depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from auth.passwords import PASSWORD_VALIDATORS
from internal.tokens import KEY_SET_SECONDS

HASHER = "auth.hashers.Argon2idHasher"


@register(Tags.security)
def password_hasher_is_ours(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """The first hasher is the one with the parameters that memory and time were planned with."""
    if settings.PASSWORD_HASHERS[:1] == [HASHER]:
        return []
    return [
        Error(
            "New passwords would not be hashed with the planned Argon2id parameters.",
            hint=f'Put "{HASHER}" first in PASSWORD_HASHERS.',
            id="credentials.E001",
        )
    ]


@register(Tags.security)
def password_rules_are_ours(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every rule for passwords is in force; more may be added."""
    missing = [rule["NAME"] for rule in PASSWORD_VALIDATORS if rule not in settings.AUTH_PASSWORD_VALIDATORS]
    if not missing:
        return []
    return [
        Error(
            f"Rules for passwords are not in force: {', '.join(missing)}.",
            hint="Set AUTH_PASSWORD_VALIDATORS to auth.passwords.PASSWORD_VALIDATORS, or to more than that.",
            id="credentials.E002",
        )
    ]


@register(Tags.security)
def key_encryption_key_is_there(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """There is a key to encrypt the private halves of signing keys with."""
    if getattr(settings, "KEY_ENCRYPTION_KEYS", ()):
        return []
    return [
        Error(
            "There is no key to encrypt signing keys with.",
            hint="Set KEY_ENCRYPTION_KEYS to id:base64 of 32 random bytes.",
            id="credentials.E003",
        )
    ]


@register(Tags.security)
def keys_are_published_before_they_sign(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A new signing key is published for at least as long as a verifier may work with a key set that lacks it."""
    if settings.SIGNING_KEY_PUBLISH_SECONDS >= KEY_SET_SECONDS:
        return []
    return [
        Error(
            f"Signing keys would sign after {settings.SIGNING_KEY_PUBLISH_SECONDS} s, but verifiers may not know them "
            f"before {KEY_SET_SECONDS} s have passed.",
            hint=f"Set SIGNING_KEY_PUBLISH_SECONDS to {KEY_SET_SECONDS} or more.",
            id="credentials.E004",
        )
    ]
