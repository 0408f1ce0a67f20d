"""Lets transactional tests empty the database of auth, whose audit record refuses to be truncated."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """The test database, its audit events open to TRUNCATE; a test of that refusal switches it on again."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE credentials_auditevent DISABLE TRIGGER audit_events_not_truncated")
