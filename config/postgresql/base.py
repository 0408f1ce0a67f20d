"""The database backend that DATABASES names; Django looks for `base.DatabaseWrapper` in it."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base

from config.postgresql.pool import Pool


class DatabaseWrapper(base.DatabaseWrapper):
    """Connections of a pool, which all hold to the deadline of the request at hand."""

    _connection_pools: dict[str, Pool]  # of Django, as the next one; its stubs do not know them
    _configure_connection: Any

    @property
    def pool(self) -> Pool | None:
        """The pool of this process, not opened yet; None where the settings want none."""
        options: dict[str, Any] | None = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        pools = self._connection_pools
        if self.alias not in pools:
            parameters = self.get_connection_params() | {"autocommit": True}
            # Of several threads that make one at the same time, one wins; the pools of the others were never opened.
            pools.setdefault(self.alias, Pool(kwargs=parameters, configure=self._configure_connection, **options))
        return pools[self.alias]

    def set_autocommit(self, autocommit: bool, force_begin_transaction_with_broken_autocommit: bool = False) -> None:
        """As Django's, but a connection that was lost in a transaction is not replaced only to end that transaction.

        The next statement connects, and finds autocommit on. Looking for one here could fail, and that failure would
        take the place of the one that matters: a COMMIT whose outcome is open would look like a transaction undone.
        """
        if autocommit and self.connection is None:
            self.validate_no_atomic_block()
            self.autocommit = True
        else:
            super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)
