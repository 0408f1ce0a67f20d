"""The Django app of backups."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Installed in the console alone. It has no models: what it keeps is beside the databases, not in them."""

    name = "backups"
    verbose_name = "Backups"
