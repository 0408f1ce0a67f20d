"""Rules between settings."""

from __future__ import annotations

from typing import Any

from django.conf import settings as real_settings
from django.core.management import call_command

from auth import checks
from auth.passwords import PASSWORD_VALIDATORS
from internal.tokens import KEY_SET_SECONDS


def test_the_settings_of_the_role_pass() -> None:
    call_command("check", "--deploy", fail_level="WARNING")


def test_another_first_hasher_is_an_error(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher", *real_settings.PASSWORD_HASHERS]

    [message] = checks.password_hasher_is_ours(None)

    assert message.id == "credentials.E001"
    assert "auth.hashers.Argon2idHasher" in str(message.hint)


def test_a_rule_for_passwords_that_is_left_out_is_an_error(settings: Any) -> None:
    settings.AUTH_PASSWORD_VALIDATORS = PASSWORD_VALIDATORS[:-1]

    [message] = checks.password_rules_are_ours(None)

    assert (message.id, "StrengthValidator" in message.msg) == ("credentials.E002", True)


def test_having_no_key_for_signing_keys_is_an_error(settings: Any) -> None:
    settings.KEY_ENCRYPTION_KEYS = ()

    [message] = checks.key_encryption_key_is_there(None)

    assert message.id == "credentials.E003"


def test_signing_with_keys_that_verifiers_may_not_know_is_an_error(settings: Any) -> None:
    settings.SIGNING_KEY_PUBLISH_SECONDS = KEY_SET_SECONDS
    assert checks.keys_are_published_before_they_sign(None) == []

    settings.SIGNING_KEY_PUBLISH_SECONDS = KEY_SET_SECONDS - 1
    [message] = checks.keys_are_published_before_they_sign(None)

    assert message.id == "credentials.E004"
    assert f"SIGNING_KEY_PUBLISH_SECONDS to {KEY_SET_SECONDS}" in str(message.hint)
