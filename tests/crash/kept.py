"""What is really kept: the records in PostgreSQL and the files of the store, looked at without the role's own code."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.running import environment_of

PARTS = ("picture", "avatar", "card")
Digests = tuple[str, str, str]  # SHA-256 of picture, avatar and card, hexadecimal

_NAME = re.compile(r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?P<part>avatar|card)?.*")


@dataclass(frozen=True)
class Record:
    """A stored image as the database knows it."""

    id: str
    owner: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Kept:
    """Records by the id of the image; names of files by the id of the image and then by part; unfinished files."""

    records: dict[str, Record]
    files: dict[str, dict[str, Path]]
    unfinished: list[Path]

    @classmethod
    def now(cls) -> Kept:
        """As it is. Records first: bytes that come while this looks belong to records that come later still."""
        rows = _rows("images", "SELECT id::text, owner::text, size_bytes, sha256 FROM images_image")
        files: defaultdict[str, dict[str, Path]] = defaultdict(dict)
        for path in _below("uploads"):
            match = _NAME.fullmatch(path.name)
            assert match, f"a file of an unknown name: {path.name}"
            files[match["id"]][match["part"] or "picture"] = path
        return cls({row[0]: Record(*row) for row in rows}, dict(files), _below("incoming"))

    def without_record(self) -> dict[str, dict[str, Path]]:
        """The files that no record speaks of."""
        return {image_id: parts for image_id, parts in self.files.items() if image_id not in self.records}

    def without_bytes(self) -> list[str]:
        """The records that lack a file, or whose picture has another length: there may never be one."""
        faults = []
        for record in self.records.values():
            parts = self.files.get(record.id, {})
            if missing := [part for part in PARTS if part not in parts]:
                faults.append(f"image {record.id} has a record and no {', no '.join(missing)}")
            elif (size := parts["picture"].stat().st_size) != record.size_bytes:
                faults.append(f"image {record.id} has {size} bytes, its record says {record.size_bytes}")
        return faults

    def damaged(self, whole: Collection[Digests]) -> list[str]:
        """The records whose files are not, byte by byte, those of a picture that was sent."""
        faults = []
        for record in self.records.values():
            digests = self.digests(record.id)
            if digests not in whole:
                faults.append(f"image {record.id} is not what was sent")
            elif digests[0] != record.sha256:
                faults.append(f"image {record.id} is whole, and its record has another SHA-256")
        return faults

    def digests(self, image_id: str) -> Digests:
        """What the files of an image are."""
        picture, avatar, card = (sha256(self.files[image_id][part].read_bytes()) for part in PARTS)
        return picture, avatar, card


def miscounted() -> list[str]:
    """The accounts of which the database counts other numbers than its own records come to."""
    rows = _rows(
        "images",
        """
        SELECT coalesce(owners.account_id, records.owner)::text, image_count, stored_bytes, number, bytes
        FROM images_owner AS owners FULL JOIN (
            SELECT owner, count(*) AS number, sum(size_bytes) AS bytes FROM images_image GROUP BY owner
        ) AS records ON owners.account_id = records.owner
        WHERE (image_count, stored_bytes) IS DISTINCT FROM (coalesce(number, 0), coalesce(bytes, 0))
        """,
    )
    return [f"account {row[0]} counts {row[1]} images of {row[2]} bytes, and has {row[3]} of {row[4]}" for row in rows]


def registered() -> set[str]:
    """The email addresses that have an account."""
    return {row[0] for row in _rows("auth", "SELECT email FROM credentials_account")}


def sha256(data: bytes) -> str:
    """The SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _below(folder: str) -> list[Path]:
    root = Path(environment_of("images")["IMAGE_ROOT"]) / folder
    return [path for path in root.rglob("*") if path.is_file()] if root.exists() else []


def _rows(role: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(environment_of(role)["DATABASE_URL"]) as connection:
        return connection.execute(query).fetchall()
