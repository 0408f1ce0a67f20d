"""Roles that start before their tables are there."""

from __future__ import annotations

import pytest

from tests.database.conftest import Databases, System
from tests.database.roles import Role
from tests.running import ask

HAS_TABLES = "SELECT to_regclass('django_migrations') IS NOT NULL"


def test_a_role_without_tables_lives_and_says_what_is_missing_until_they_are_there(
    databases: Databases, started: tuple[Role, Role, Role], request: pytest.FixtureRequest
) -> None:
    gateway, auth, images = started
    assert databases.primary.ask(HAS_TABLES, "auth") == [(False,)], "this test comes first in its suite"
    registration = {"name": "Ada", "email": "ada@example.org", "password": "walnut tractor velvet lamp"}
    images.wait_until(images.is_ready, "is ready: stored bytes can be had without its database")

    answer = ask("POST", f"{gateway.url}/api/v1/register", json=registration)

    assert (answer.status, answer.json["code"]) == (503, "auth_unavailable")
    for role in (auth, images):
        assert ask("GET", f"{role.url}/internal/v1/status").json["database"] == "down"
        assert role.lives()
    answer = ask("GET", f"{auth.management}/readyz")
    assert (answer.status, answer.json["faults"]) == (503, ["auth.health.database: MigrationsMissing"])
    answer = ask("GET", f"{auth.url}/internal/v1/jwks")
    assert (answer.status, answer.json["code"]) == (503, "database_unavailable")
    assert "Retry-After" in answer.headers
    assert any("manage.py migrate" in line for line in auth.log.read_text().splitlines())
    before = [role.processes() for role in started]

    system: System = request.getfixturevalue("system")  # makes the tables, and waits until everything works

    assert [role.processes() for role in system.roles] == before
    for role in (auth, images):
        assert ask("GET", f"{role.url}/internal/v1/status").json["database"] == "up"
