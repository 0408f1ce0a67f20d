"""Cursors of a list: opaque text that names the last image of a page, so that the next page begins behind it."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import struct
from dataclasses import dataclass
from uuid import UUID

_LAYOUT = struct.Struct(">q16s")  # microseconds since 1970, id
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list that is sorted by the moment of storing and then by id."""

    created_at: dt.datetime
    id: UUID


def encode(position: Position) -> str:
    """The position as a cursor."""
    raw = _LAYOUT.pack((position.created_at - _EPOCH) // _MICROSECOND, position.id.bytes)
    return base64.urlsafe_b64encode(raw).decode()


def decode(cursor: str) -> Position:
    """The position that a cursor names.

    Raises:
        ValueError: the text is no cursor.
    """
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
        microseconds, image_id = _LAYOUT.unpack(raw)
        return Position(_EPOCH + microseconds * _MICROSECOND, UUID(bytes=image_id))
    except (UnicodeEncodeError, binascii.Error, struct.error, OverflowError) as error:
        raise ValueError("not a cursor") from error
