"""What `up` has written for the roles, as the tests read it."""

from __future__ import annotations

import json
from pathlib import Path


def database_url(state: Path, name: str) -> str:
    """The address of the database `auth` or `images`, with its user and password."""
    return str(json.loads((state / "env" / f"{name}.json").read_text())["DATABASE_URL"])
