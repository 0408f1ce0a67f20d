"""The inventory: every image that the records in a backup name, in the order of ids, one JSON object a line, packed."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from backups import databases

PAGE = 2000  # records that are fetched at a time
PACKED = 256 * 1024  # bytes of text that are packed at a time
_GZIP = 31  # window bits of zlib: a gzip header around it
_NAME = re.compile(r"[a-z]+/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[a-z]{1,8}")
_LONGEST = 16 * 1024  # bytes of a line; ours have 300


class Damaged(Exception):
    """It cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored picture: its name in the store, its length in bytes, its SHA-256, and the names of avatar and card."""

    name: str
    bytes: int
    sha256: str
    beside: tuple[str, ...]

    @property
    def image_id(self) -> UUID:
        """The id of the image, which its name begins with."""
        return UUID(self.name.rpartition("/")[2].partition(".")[0])


def recorded(progress: Callable[[int], None]) -> Iterator[bytes]:
    """The inventory of the images database, in packed chunks. Runs inside the snapshot of the backup."""
    packer = zlib.compressobj(wbits=_GZIP)
    lines: list[str] = []
    size = 0
    images: Any = databases.model("images.Image")
    for number, image in enumerate(images.objects.order_by("id").iterator(chunk_size=PAGE), 1):
        name, *beside = image.stored_names
        entry = {"name": name, "bytes": image.size_bytes, "sha256": image.sha256, "beside": beside}
        lines.append(json.dumps(entry) + "\n")
        size += len(lines[-1])
        if size >= PACKED:
            yield packer.compress("".join(lines).encode())
            lines, size = [], 0
            progress(number)
    yield packer.compress("".join(lines).encode())
    yield packer.flush()


def entries(chunks: Iterable[bytes]) -> Iterator[Entry]:
    """Reads one, of whatever length in little memory. Raises Damaged."""
    for number, line in enumerate(_lines(chunks), 1):
        try:
            entry = json.loads(line)
            read = Entry(str(entry["name"]), int(entry["bytes"]), str(entry["sha256"]), tuple(entry["beside"]))
            if not _NAME.fullmatch(read.name):
                raise ValueError(read.name)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Damaged(f"line {number} is not one of an inventory") from None
        yield read


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=_GZIP)
    rest = b""
    for chunk in chunks:
        waiting = chunk
        while waiting and not unpacker.eof:
            try:
                *lines, rest = (rest + unpacker.decompress(waiting, PACKED)).split(b"\n")
            except zlib.error:
                raise Damaged("it cannot be unpacked") from None
            if len(rest) > _LONGEST:
                raise Damaged("a line has no end")
            yield from lines
            waiting = unpacker.unconsumed_tail
    if not unpacker.eof or rest:
        raise Damaged("it ends early")
