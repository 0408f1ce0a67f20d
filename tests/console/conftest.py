"""The console's tests: its real settings, a real PostgreSQL."""

from __future__ import annotations

from tests.flushing import django_db_setup

__all__ = ["django_db_setup"]
