"""GET status, and the readiness check."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import Client

from auth import health

pytestmark = pytest.mark.django_db


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything, as after a network is lost."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def status() -> dict[str, str]:
    response = Client().get("/internal/v1/status")
    assert response.status_code == 200
    return json.loads(response.content)


def test_the_status_names_the_release_and_the_database(settings: object) -> None:
    assert status() == {"service": "auth", "version": "unreleased", "commit": "unknown", "database": "up"}


def test_the_readiness_check_passes_while_the_database_answers() -> None:
    health.database()


def test_a_database_that_refuses_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")

    assert status()["database"] == "down"
    with pytest.raises(health.DatabaseDown, match="OperationalError"):
        health.database()


def test_a_database_that_says_nothing_is_down_within_a_second(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", str(silent_port))
    started = time.monotonic()

    answers = [status()["database"]]

    assert answers == ["down"]
    assert time.monotonic() - started < 1.5
    running = health._running
    assert running is not None
    running.join(10)
