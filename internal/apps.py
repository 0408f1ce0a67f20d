"""The shared code as a Django app, so that its system checks are found."""

from django.apps import AppConfig


class InternalConfig(AppConfig):
    """The app of what roles share."""

    name = "internal"
