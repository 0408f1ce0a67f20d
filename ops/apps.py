"""The app that carries the operator commands of manage.py."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Commands only: no models, no URLs."""

    name = "ops"
    label = "ops"
    verbose_name = "Operations"
