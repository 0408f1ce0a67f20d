"""The database backend that DATABASES names; Django looks for `base.DatabaseWrapper` in it."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from django.db.backends.postgresql import base

_PAUSE = 0.5  # seconds between two attempts


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects again and again for `patience` seconds (an entry of OPTIONS) while nobody answers at the address.

    A job may start before the network of its pod admits it, or while PostgreSQL's pod is replaced. A server that
    answers and refuses (a wrong password, no such database) is heard at once.
    """

    def get_connection_params(self) -> dict[str, Any]:
        """What psycopg gets, which knows nothing of patience."""
        return {name: value for name, value in super().get_connection_params().items() if name != "patience"}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection.

        Raises:
            psycopg.OperationalError: none could be had in time, or the server refused it.
        """
        deadline = time.monotonic() + self.settings_dict["OPTIONS"].get("patience", 0)
        while True:
            try:
                return super().get_new_connection(conn_params)
            except psycopg.OperationalError as error:
                refused = "FATAL:" in str(error) and "the database system is" not in str(error)  # starting, stopping
                if refused or time.monotonic() + _PAUSE > deadline:
                    raise
            time.sleep(_PAUSE)
