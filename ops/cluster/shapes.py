"""Parts of an object whose shape nobody has checked yet.

What is not there or is of another shape counts as empty, so that it is left out here and explained by the server.
"""

from __future__ import annotations

from typing import Any


def mapping(value: Any, *path: str) -> dict[str, Any]:
    """The mapping at `path` below a value."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> list[dict[str, Any]]:
    """Those items of a list that are mappings."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """A string."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """Those items of a list that are strings and not empty."""
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []
