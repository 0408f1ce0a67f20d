"""Which database a model of the console lives in."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

IMAGES = "images"


class ImagesDatabaseRouter:
    """Sends the app `images` to the database of that name; everything else stays in the default, auth's database."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """The database that `model` is read from."""
        return IMAGES if model._meta.app_label == IMAGES else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        """The database that `model` is written to."""
        return self.db_for_read(model)

    def allow_relation(self, first: Model, second: Model, **hints: Any) -> bool | None:
        """No relation crosses the databases."""
        return (first._meta.app_label == IMAGES) == (second._meta.app_label == IMAGES)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Each database gets its own tables only."""
        return (db == IMAGES) == (app_label == IMAGES)
