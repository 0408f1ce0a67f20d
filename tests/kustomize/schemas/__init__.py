"""What kinds of custom resources may hold: types, names, allowed values and what must be there, without descriptions.

One JSON schema for each kind, `<kind>-<group>-<version>.json`, which says in `x-source` what it was made from;
`python -m tests.kustomize.schemas` makes them. Fields that a schema does not know are refused, as `kubectl apply` with
strict validation does. Rules that the API server computes (CEL) are left to the API server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def schema_of(api_version: str, kind: str) -> dict[str, Any] | None:
    """The schema of a custom resource, None for a kind that is none of those we have."""
    file = FOLDER / file_name(api_version, kind)
    return json.loads(file.read_text()) if file.exists() else None


def file_name(api_version: str, kind: str) -> str:
    group, _, version = api_version.partition("/")
    return f"{kind.lower()}-{group}-{version}.json"
