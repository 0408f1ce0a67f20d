"""What PostgreSQL has to hold when every autoscaler is at its maximum."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from config.processes import THREADS
from ops.postgres import MAX_CONNECTIONS
from tests.config.test_roles import COMMON, ENVIRONMENTS, PROJECT, run

PLAN: dict[str, Any] = tomllib.loads((PROJECT / "config" / "connections.toml").read_text())
SERVER, ROLES, CONSOLE, OTHERS = PLAN["server"], PLAN["roles"], PLAN["console"], PLAN["others"]

POOLS = """
import json
from django.conf import settings
print(json.dumps({
    alias: entry["OPTIONS"].get("pool", {}).get("max_size") for alias, entry in settings.DATABASES.items() if entry
}))
"""


def pools(role: str) -> dict[str, int | None]:
    """How many connections a process of the role has at most, by database, with the default settings."""
    finished = run(role, "-c", POOLS)
    assert finished.returncode == 0, finished.stderr
    sizes: dict[str, int | None] = json.loads(finished.stdout)
    return sizes


def default_workers(role: str, folder: Path) -> int:
    """How many workers gunicorn starts with the default environment."""
    environment = COMMON | ENVIRONMENTS[role] | {"PROMETHEUS_MULTIPROC_DIR": str(folder / role)}
    finished = run(
        role,
        *("-m", "gunicorn", "--print-config", "-c", "config/gunicorn.conf.py", "config.wsgi"),
        environment=environment,
    )
    assert finished.returncode == 0, finished.stderr
    found = re.search(r"^workers +=? *(\d+)$", finished.stdout, re.MULTILINE)
    assert found, finished.stdout
    return int(found[1])


def test_everybody_at_the_maximum_fits_the_server() -> None:
    held = {
        role: (plan["replicas"] + plan["surge"]) * (plan["workers"] * (pools(role)["default"] or 0) + plan["beside"])
        for role, plan in ROLES.items()
    }
    each = CONSOLE["workers"] * CONSOLE["threads"] * CONSOLE["databases"] + CONSOLE["beside"]
    held |= {"console": (CONSOLE["replicas"] + CONSOLE["surge"]) * each, "others": sum(OTHERS.values())}
    room = SERVER["max_connections"] - SERVER["superuser_reserved_connections"] - SERVER["margin"]

    assert sum(held.values()) <= room, (
        f"With every autoscaler at its maximum PostgreSQL has {sum(held.values())} connections: {held}. "
        f"There is room for {room}: max_connections less reserved ones and margin. Make POOL_SIZE in "
        "config/settings/_postgres.py smaller, or max_connections in config/connections.toml and on the server larger."
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_serving_role_has_one_pool_in_each_process_and_as_many_processes_as_planned(
    role: str, tmp_path: Path
) -> None:
    assert list(pools(role)) == ["default"]
    assert (pools(role)["default"] or 0) >= 1
    assert default_workers(role, tmp_path) == ROLES[role]["workers"]


def test_the_console_holds_a_connection_of_each_thread_to_each_database(tmp_path: Path) -> None:
    assert pools("console") == {"default": None, "images": None}
    assert CONSOLE["databases"] == 2
    assert default_workers("console", tmp_path) == CONSOLE["workers"]
    assert THREADS["console"] == CONSOLE["threads"]


def test_no_role_has_a_database_that_nobody_planned() -> None:
    with_databases = {role for role in ENVIRONMENTS if role != "ops" and pools(role)}

    assert with_databases == {*ROLES, "console"}


def test_the_server_of_up_has_the_size_that_is_planned_with() -> None:
    assert SERVER["max_connections"] == MAX_CONNECTIONS
