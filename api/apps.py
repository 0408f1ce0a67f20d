from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "api"

    def ready(self) -> None:
        """Registers how the bearer token is described: drf-spectacular finds such extensions by import."""
        from api import schema  # noqa: F401
