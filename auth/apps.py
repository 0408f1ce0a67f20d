"""The Django app of the auth role."""

from __future__ import annotations

from django.apps import AppConfig, apps


class AuthConfig(AppConfig):
    """Labelled `credentials`: the label `auth` belongs to Django's own app, which the console installs beside it."""

    name = "auth"
    label = "credentials"
    verbose_name = "Credentials"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers the system checks, and in the console what records the actions of staff."""
        from auth import checks  # noqa: F401

        if apps.is_installed("django.contrib.auth"):
            from auth import staff  # noqa: F401
