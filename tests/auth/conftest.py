"""The auth role's tests: its real settings, a real PostgreSQL, the internal API from outside."""

from __future__ import annotations

from typing import Any

import pytest

from tests.auth import calls
from tests.flushing import django_db_setup

__all__ = ["django_db_setup"]


@pytest.fixture
def account(db: None) -> dict[str, Any]:
    """Ada's account."""
    return calls.register()


@pytest.fixture
def grant(account: dict[str, Any]) -> dict[str, Any]:
    """The tokens of a session of Ada's."""
    return calls.sign_in()


@pytest.fixture
def other(db: None) -> dict[str, Any]:
    """The tokens of another person, Grace."""
    calls.register(name="Grace Hopper", email="grace@example.org")
    return calls.sign_in(email="grace@example.org")
