"""The input of the internal API: what is accepted in a body, and what is said about anything else."""

from __future__ import annotations

import unicodedata
from typing import Any

from rest_framework import serializers

from auth import emails
from auth.models import Account

# Longer than any password that could have been registered: not worth a hash.
PASSWORD_INPUT_LENGTH = 1024
KNOWN_DEVICE_LENGTH = 64


def printable(text: str) -> None:
    """Refuses control characters, which no name or device has and every terminal obeys."""
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise serializers.ValidationError("Control characters are not allowed.", code="control_characters")


class TextField(serializers.CharField):
    """Text, given as a JSON string and not as a number."""

    def to_internal_value(self, data: Any) -> str:
        """The text; a ValidationError for any other type."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class PasswordField(TextField):
    """A password, exactly as it was typed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, max_length=PASSWORD_INPUT_LENGTH, **kwargs)


class NameField(TextField):
    """A person's name."""

    def __init__(self, **kwargs: Any) -> None:
        limit = Account._meta.get_field("name").max_length
        super().__init__(max_length=limit, validators=[printable], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """The name in Unicode's form NFC, the one that is counted and kept."""
        return unicodedata.normalize("NFC", super().to_internal_value(data))


class EmailField(serializers.EmailField):
    """An email address that an account may have."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=emails.MAX_LENGTH, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        """The address; a ValidationError where its key would not fit, or its domain can be none."""
        if not isinstance(data, str):
            self.fail("invalid")
        email = super().to_internal_value(data)
        key = emails.email_key(email)
        if not key.isascii():  # a label of the domain has no ASCII form that a name server could look up
            self.fail("invalid")
        if len(key) > emails.MAX_LENGTH:
            self.fail("max_length", max_length=emails.MAX_LENGTH)
        return email


class AddressField(serializers.IPAddressField):
    """A network address, without the zone that a link-local IPv6 address may have: it means nothing elsewhere."""

    def to_internal_value(self, data: Any) -> str:
        """The address; a ValidationError for anything else."""
        if not isinstance(data, str):
            self.fail("invalid")
        address: str = super().to_internal_value(data.partition("%")[0])
        return address


class RegistrationInput(serializers.Serializer[Any]):
    """A new account."""

    name = NameField()
    email = EmailField()
    password = PasswordField()


class OriginInput(serializers.Serializer[Any]):
    """From where a person signs in."""

    device = TextField(allow_blank=True, validators=[printable])
    address = AddressField(allow_blank=True)


class SignInInput(OriginInput):
    """An attempt to sign in."""

    email = TextField(max_length=emails.MAX_LENGTH)
    password = PasswordField()
    known_device = TextField(required=False, allow_blank=True, max_length=KNOWN_DEVICE_LENGTH)


class RefreshTokenInput(serializers.Serializer[Any]):
    """A refresh token; whether it is one is not a question of form."""

    refresh_token = TextField(max_length=256)


class RefreshInput(RefreshTokenInput, OriginInput):
    """A refresh token, and from where it is used."""


class AccountChangeInput(serializers.Serializer[Any]):
    """What a person changes about the account; what is left out stays."""

    name = NameField(required=False)
    email = EmailField(required=False)
    current_password = PasswordField(required=False)


class PasswordChangeInput(serializers.Serializer[Any]):
    """The old password and the new one."""

    current_password = PasswordField()
    new_password = PasswordField()
