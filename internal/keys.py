"""Named symmetric keys, of which several are accepted at a time so that they can be rotated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A 32-byte secret and the public name by which messages say that they used it."""

    id: str
    secret: bytes = field(repr=False)


def find(keys: Iterable[NamedKey], key_id: str) -> NamedKey | None:
    """The key of that name, or None if no such key is accepted (any more)."""
    return next((key for key in keys if key.id == key_id), None)
