"""The portal's forms. They check shape and length; what a password or an image is worth, auth and images decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.forms.renderers import DjangoTemplates
from django.utils.datastructures import MultiValueDict

LONGEST_NAME = 100
LONGEST_EMAIL = 254
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024  # code points as they are typed; how long a password may be, auth says
ACCEPTED_IMAGES = "image/png,image/jpeg,image/webp,image/gif"
IMAGE_HINT = "PNG, JPEG, WebP or GIF, up to 10 MB."

_UNDECODABLE = "\ufffd"  # what Django puts in place of bytes that are not UTF-8


class PortalRenderer(DjangoTemplates):
    field_template_name = "portal/forms/field.html"


def _refuse_undecodable(value: str) -> None:
    if _UNDECODABLE in value:
        raise ValidationError("This text contains characters that cannot be read.", code="undecodable")


class PortalForm(forms.Form):
    """A form whose fields show label, hint and error together, see portal/forms/field.html."""

    default_renderer = PortalRenderer
    use_required_attribute = True
    #: Status and Retry-After (seconds) of an answer that shows this form with its errors.
    status = 422
    retry_after: int | None = None
    #: Whether a service was asked, and it is not known what it did.
    outcome_is_open = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                field.validators.append(_refuse_undecodable)


class SingleFileInput(forms.FileInput):
    def value_from_datadict(
        self, data: Mapping[str, Any], files: MultiValueDict[str, UploadedFile[bytes]], name: str
    ) -> UploadedFile[bytes] | list[UploadedFile[bytes]] | None:
        sent = files.getlist(name)
        return sent if len(sent) > 1 else next(iter(sent), None)


class SingleImageField(forms.FileField):
    """Exactly one file; Django alone would silently take the last of several. Its content is checked by images."""

    widget = SingleFileInput(attrs={"accept": ACCEPTED_IMAGES})
    default_error_messages: ClassVar[dict[str, Any]] = {
        "required": "Choose an image.",
        "one_file_only": "Send one file only.",
        "empty": "This file is empty.",
    }

    def clean(self, data: Any, initial: Any = None) -> Any:
        if isinstance(data, list):
            raise ValidationError(self.error_messages["one_file_only"], code="one_file_only")
        return super().clean(data, initial)


def _email_field(**kwargs: Any) -> forms.EmailField:
    return forms.EmailField(
        label="Email",
        max_length=LONGEST_EMAIL,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "spellcheck": "false", "autocapitalize": "none"}),
        error_messages={
            "required": "Enter your email address.",
            "invalid": "Enter an email address such as anna@example.org.",
        },
        **kwargs,
    )


def _name_field() -> forms.CharField:
    return forms.CharField(
        label="Name",
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
        error_messages={"required": "Enter your name."},
    )


def _current_password_field(label: str, **kwargs: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=LONGEST_PASSWORD,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
        **kwargs,
    )


def _new_password_field(label: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        min_length=SHORTEST_PASSWORD,
        max_length=LONGEST_PASSWORD,
        strip=False,
        help_text="At least 8 characters. A few unrelated words make a good one.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        error_messages={"required": "Choose a password."},
    )


class RegistrationForm(PortalForm):
    name = _name_field()
    email = _email_field()
    password = _new_password_field("Password")
    image = SingleImageField(label="Profile image (optional)", required=False, help_text=IMAGE_HINT)

    def ask_for_the_image_again(self) -> None:
        """Says that the image has to be chosen again: browsers never fill in a file a second time."""
        if self.files.get("image") and "image" not in self.errors:
            self["image"].help_text = f"Please choose your image again. {IMAGE_HINT}"


class SignInForm(PortalForm):
    email = _email_field()
    password = _current_password_field("Password")


class DetailsForm(PortalForm):
    """Name and email of an account. Only a changed email asks for the current password."""

    name = _name_field()
    email = _email_field()
    current_password = _current_password_field(
        "Current password", required=False, help_text="Needed only when you change your email."
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        email_changes = "email" in cleaned and cleaned["email"] != self.initial.get("email")
        if email_changes and "current_password" not in self.errors and not cleaned.get("current_password"):
            self.add_error(
                "current_password",
                ValidationError("Enter your current password to change your email.", code="required"),
            )
        return cleaned


class ProfileImageForm(PortalForm):
    image = SingleImageField(label="New profile image", help_text=IMAGE_HINT)


class PasswordForm(PortalForm):
    current_password = _current_password_field("Current password")
    new_password = _new_password_field("New password")


class CloseAccountForm(PortalForm):
    """`initial["email"]` is the address that has to be typed."""

    email = forms.CharField(
        label="Your email",
        max_length=LONGEST_EMAIL,
        help_text="Type the email address of this account to confirm.",
        widget=forms.EmailInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
        error_messages={"required": "Type the email address of this account."},
    )

    def __init__(self, *args: Any, account_email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._account_email = account_email

    def clean_email(self) -> str:
        typed: str = self.cleaned_data["email"]
        if typed.casefold() != self._account_email.casefold():
            raise ValidationError("This is not the email address of this account.", code="other_email")
        return typed
