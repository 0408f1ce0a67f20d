"""The DATABASES entry of a serving role: a pool per process, and a limit on everything that could hang."""

from __future__ import annotations

from typing import Any

CONNECT_TIMEOUT = 2  # seconds; libpq knows no less
STATEMENT_TIMEOUT = 2_000  # milliseconds; who waits for the answer gives up a little later (config.postgresql)
CLIENT_CHECK = 500  # milliseconds after which the server notices that nobody waits for a statement any more
IDLE_IN_TRANSACTION = 10_000  # milliseconds
POOL_WAIT = 1.0  # seconds for a connection, before the caller hears that the database is away
POOL_SIZE = 2  # connections of each process: config/connections.toml adds them up

_SESSION = {
    "statement_timeout": STATEMENT_TIMEOUT,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "client_connection_check_interval": CLIENT_CHECK,
}


def pooled(connection: dict[str, str] | None, *, pool_size: int | None, application: str) -> dict[str, Any]:
    """A database of a serving role.

    The pool is per process: connections = replicas x workers x pool_size, and all roles together must stay under the
    server's max_connections with every autoscaler at its maximum (config/connections.toml).
    """
    return {
        "ENGINE": "config.postgresql",
        **(connection or {}),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "application_name": application,
            "connect_timeout": CONNECT_TIMEOUT,
            "tcp_user_timeout": STATEMENT_TIMEOUT + 500,
            "target_session_attrs": "read-write",  # a standby, or what was the primary, is no database of ours
            "options": " ".join(f"-c {name}={value}" for name, value in _SESSION.items()),
            "pool": {
                "min_size": 0,
                "max_size": pool_size,
                "timeout": POOL_WAIT,
                "max_idle": 300,
                # A failed attempt is given up soon: the next caller starts a new one, so that an outage ends for
                # callers when it ends for the server, not when a long back-off does.
                "reconnect_timeout": 0.5,
            },
        },
    }


def direct(connection: dict[str, str] | None, *, application: str, patience: int | None) -> dict[str, Any]:
    """A database of the console: one connection at a time, and no limit on how long an operator's statement runs.

    `patience` is for how many seconds a program that finds nobody at the address tries again.
    """
    return {
        "ENGINE": "config.patient_postgresql",
        **(connection or {}),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "application_name": application,
            "connect_timeout": 5,
            "patience": patience,
            "options": f"-c client_connection_check_interval={CLIENT_CHECK}",
        },
    }
