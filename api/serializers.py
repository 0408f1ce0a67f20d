"""What goes in and what comes out. Inputs check form only (type, length, emptiness); what a value means is for the
services to judge. Outputs read the contracts' dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast
from uuid import UUID

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from api.profiles import PART_OF_SERVICE
from internal.contracts import StoredImage
from internal.problems import FieldError, ProblemError, image_fault, invalid_input

NAME_LENGTH = 100
EMAIL_LENGTH = 254
PASSWORD_LENGTHS = (8, 1024)  # code points as they are sent; how long a password may be, auth says
REFRESH_TOKEN_LENGTH = 256
CURSOR_LENGTH = 512
PAGE_LIMIT = 100
PAGE_DEFAULT = 24


# --- in ---


class TextField(serializers.CharField):
    """A JSON string: unlike its parent it does not turn numbers into text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class EmailField(serializers.EmailField):
    """An email address, given as a JSON string."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "password"})
class PasswordField(serializers.CharField):
    """A password: white space at its ends is part of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class IdField(serializers.UUIDField):
    """A UUID, given as a JSON string."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "binary"})
class ImageFileField(serializers.FileField):
    """One file; whether it is an image is for the image service to decide, by decoding it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_empty_file=True, **options)


# The docstrings of the serializers below appear in the OpenAPI document, so the two bases have none.


class Input(serializers.Serializer[Any]):
    @classmethod
    def of(cls, request: Request) -> dict[str, Any]:
        """The checked values of the request's body; members that are not known are left out.

        Raises:
            ProblemError: one_file_only or invalid_input (422) for files that this call does not take.
            rest_framework.exceptions.ValidationError: for everything else (invalid_input).
        """
        cls._refuse_stray_files(request)
        return cls.of_values(cast(Mapping[str, Any], request.data))

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        serializer = cls(data=values)
        serializer.is_valid(raise_exception=True)
        checked: dict[str, Any] = serializer.validated_data
        return checked

    @classmethod
    def _refuse_stray_files(cls, request: Request) -> None:
        known = {name for name, field in cls().fields.items() if isinstance(field, serializers.FileField)}
        stray = sorted(set(request.FILES) - known)
        if stray:
            message = "This call takes no file in this field."
            errors = [FieldError(name[:NAME_LENGTH], "unexpected_file", message) for name in stray]
            raise ProblemError(invalid_input(*errors))
        for name in known:
            if len(request.FILES.getlist(name)) > 1:
                raise ProblemError(image_fault("one_file_only", "Send one file; this field has several."))


class Registration(Input):
    """A person who wants an account."""

    name = TextField(
        min_length=1,
        max_length=NAME_LENGTH,
        help_text="The name that the portal shows.",
    )
    email = EmailField(
        max_length=EMAIL_LENGTH,
        help_text="The address to sign in with; upper and lower case are the same.",
    )
    password = PasswordField(
        min_length=PASSWORD_LENGTHS[0],
        max_length=PASSWORD_LENGTHS[1],
        help_text="8 to 128 characters, not a common password, and not close to the name or email.",
    )


class RegistrationForm(Registration):
    """A person who wants an account, with an image to show."""

    image = ImageFileField(
        required=False,
        help_text="Profile image: PNG, JPEG, WebP or GIF, at most 10 MiB and 40 megapixels.",
    )


class Credentials(Input):
    """What a person signs in with."""

    email = EmailField(max_length=EMAIL_LENGTH)
    password = PasswordField(min_length=1, max_length=PASSWORD_LENGTHS[1])


class RefreshToken(Input):
    """The token that stands for a session."""

    refresh_token = TextField(
        min_length=1,
        max_length=REFRESH_TOKEN_LENGTH,
        trim_whitespace=False,
        help_text="The newest refresh token of the session.",
    )


class ProfileChanges(Input):
    """What shall change; members that are left out stay as they are."""

    name = TextField(min_length=1, max_length=NAME_LENGTH, required=False)
    email = EmailField(max_length=EMAIL_LENGTH, required=False)
    current_password = PasswordField(
        min_length=1,
        max_length=PASSWORD_LENGTHS[1],
        required=False,
        help_text="Required to change the email.",
    )


class PasswordChange(Input):
    """The password that is and the one that shall be."""

    current_password = PasswordField(min_length=1, max_length=PASSWORD_LENGTHS[1])
    new_password = PasswordField(min_length=PASSWORD_LENGTHS[0], max_length=PASSWORD_LENGTHS[1])


class ImageUpload(Input):
    """A form with one file."""

    image = ImageFileField(help_text="PNG, JPEG, WebP or GIF, at most 10 MiB and 40 megapixels.")


class ImageChoice(Input):
    """An image that is already stored."""

    image_id = IdField(help_text="One of the caller's own images.")


class PageQuery(Input):
    cursor = TextField(
        required=False,
        min_length=1,
        max_length=CURSOR_LENGTH,
        help_text="`next_cursor` of the page before.",
    )
    limit = serializers.IntegerField(
        required=False,
        default=PAGE_DEFAULT,
        min_value=1,
        max_value=PAGE_LIMIT,
        help_text="How many items a page has at most.",
    )


# --- out ---


class Output(serializers.Serializer[Any]):
    """What an answer shows."""

    @classmethod
    def shown(cls, value: Any) -> dict[str, Any]:
        """The value as JSON members."""
        members: dict[str, Any] = _describing(cls).to_representation(value)
        return members


@cache
def _describing(kind: type[Output]) -> Output:
    """One serializer for all values of its kind: REST framework makes every field anew for each serializer."""
    return kind()


@extend_schema_field({"type": "string", "format": "uri"})
class UploadUrlField(serializers.CharField):
    """A path of the image service, shown as the public address under UPLOADS_URL."""

    def to_representation(self, value: str) -> str:
        return f"{settings.UPLOADS_URL}{value}"


@extend_schema_field({"type": "string", "format": "uri-reference"})
class ReferenceField(serializers.CharField):
    """A URI, maybe relative."""


class Image(Output):
    """A stored image."""

    id = serializers.UUIDField()
    content_type = serializers.ChoiceField(choices=["image/png", "image/jpeg", "image/webp", "image/gif"])
    width = serializers.IntegerField(min_value=1, help_text="Pixels, after the orientation was applied.")
    height = serializers.IntegerField(min_value=1, help_text="Pixels, after the orientation was applied.")
    size_bytes = serializers.IntegerField(min_value=1, help_text="Bytes of the image as stored, without its metadata.")
    animated = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    is_profile_image = serializers.BooleanField()
    url = UploadUrlField(
        source="path",
        help_text="The image itself. Immutable, unguessable, readable without a token.",
    )
    avatar_url = UploadUrlField(source="avatar_path", help_text="A square of 256 pixels, WebP.")
    card_url = UploadUrlField(source="card_path", help_text="At most 640 pixels wide, WebP.")


class ImagePage(Output):
    """Some of the images, and where the next ones are."""

    items = Image(many=True, help_text="Newest first.")
    next_cursor = serializers.CharField(allow_null=True, help_text="Null on the last page.")
    total = serializers.IntegerField(min_value=0, help_text="How many images the account has.")


class Profile(Output):
    """What the account shows of its owner, to its owner."""

    id = serializers.UUIDField()
    name = serializers.CharField(allow_null=True, help_text="Null only when `limited` has `account`.")
    email = serializers.CharField(allow_null=True, help_text="Null only when `limited` has `account`.")
    created_at = serializers.DateTimeField(allow_null=True, help_text="Null only when `limited` has `account`.")
    last_sign_in_at = serializers.DateTimeField(allow_null=True, help_text="The newest sign-in, usually this one.")
    previous_sign_in_at = serializers.DateTimeField(allow_null=True, help_text="The sign-in before it.")
    image = Image(
        allow_null=True,
        help_text="The profile image; null when there is none or `limited` has `image`.",
    )
    limited = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(PART_OF_SERVICE.values())),
        help_text="Parts that are missing because the service that knows them does not answer now.",
    )


class RegisteredProfile(Profile):
    """The profile of a new account."""

    notice = serializers.CharField(
        allow_null=True,
        help_text="Set when the account was made but its image could not be stored: says so, and how to add it.",
    )


class TokenGrant(Output):
    """The two tokens of a session."""

    access_token = serializers.CharField(help_text="Send it as `Authorization: Bearer …`.")
    refresh_token = serializers.CharField(help_text="Good for one use at `/refresh`. Keep it secret.")
    token_type = serializers.ChoiceField(choices=["Bearer"])
    expires_in = serializers.IntegerField(min_value=1, help_text="Seconds until the access token ends.")
    refresh_expires_in = serializers.IntegerField(min_value=1, help_text="Seconds until the refresh token ends.")


class Session(Output):
    """A place where the account is signed in."""

    id = serializers.UUIDField()
    device = serializers.CharField(help_text="What the client said it is (its User-Agent).")
    address = serializers.CharField(help_text="The IP address that it was last used from.")
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    current = serializers.BooleanField(help_text="Whether this is the session of the token that asks.")


class SessionList(Output):
    """Every place where the account is signed in."""

    items = Session(many=True)


class FieldFault(Output):
    """One field that is at fault."""

    field = serializers.CharField(help_text="The member or parameter at fault.")
    code = serializers.CharField(help_text="What is wrong with it, for programs.")
    message = serializers.CharField(help_text="What is wrong with it, for people.")


class Problem(Output):
    """A problem document (RFC 9457)."""

    type = ReferenceField(help_text="Where the code is explained.")
    title = serializers.CharField()
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField(help_text="What went wrong this time, for people.")
    code = serializers.CharField(help_text="Stable name of the problem, for programs; `/api/v1/problems` lists all.")
    request_id = serializers.CharField(
        help_text="Quote it when you ask for help: every log line of the request has it."
    )
    # REST framework gives every serializer an `errors` of its own; this one only describes.
    errors = FieldFault(  # type: ignore[assignment]
        many=True, required=False, help_text="What is wrong, field by field."
    )


def image_json(image: StoredImage) -> dict[str, Any]:
    return Image.shown(image)


def upload_of(file: UploadedFile[bytes]) -> tuple[Any, int]:
    """The bytes to send on, and how many there are."""
    return file.file, file.size or 0
