"""The manifest: what a backup is made of. It is written last, so a backup without one does not exist."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from backups.errors import Stopped
from internal.keys import NamedKey

NAME = "manifest.json"
INVENTORY = "inventory.jsonl.gz"
PIECES = ("auth.dump", "images.dump", INVENTORY)
FORMAT = 1
LARGEST = 1024 * 1024  # bytes; ours have a few thousand

_ID = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+(\.\d+)*")


class Invalid(Exception):
    """It is no manifest as this release writes it; the message says what is wrong with it."""


class Newer(Invalid):
    """A newer release has written it, in another form."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file of the backup: its length in bytes and its SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Dump:
    """Of a database: versions of its server and of pg_dump, and the migrations that it had, as `app.name`."""

    server: str
    pg_dump: str
    migrations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is made of.

    Attributes:
        id: `<UTC time of its beginning>-<8 hexadecimal digits>`, its folder.
        release, commit: of the code that made it.
        started_at, finished_at: times of the machine that made it.
        pieces: by name.
        databases: by the name of their dump.
        accounts, images, image_bytes: how many are in it; the bytes themselves are not.
        encryption_keys: which of KEY_ENCRYPTION_KEYS the signing keys in it need: by id, what `fingerprint` gives, or
            nothing where the key was not known when the backup was made.
    """

    id: str
    release: str
    commit: str
    started_at: dt.datetime
    finished_at: dt.datetime
    pieces: dict[str, Piece]
    databases: dict[str, Dump]
    accounts: int
    images: int
    image_bytes: int
    encryption_keys: dict[str, str]

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.bytes for piece in self.pieces.values())

    def to_json(self) -> bytes:
        """The manifest as it is kept."""
        document = {"format": FORMAT, **asdict(self)}
        document |= {name: getattr(self, name).isoformat() for name in ("started_at", "finished_at")}
        return (json.dumps(document, indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Reads one. Raises Invalid; Newer if it is of a format that this release does not know."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise Invalid("it is not JSON") from None
        if not isinstance(document, dict) or type(document.get("format")) is not int:
            raise Invalid("it does not say its format")
        if document["format"] > FORMAT:
            raise Newer(f"it has format {document['format']}, and this release knows {FORMAT}: use a newer release")
        try:
            return _read(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Invalid(f"it is damaged ({type(error).__name__}: {error})") from None


def _read(document: dict[str, Any]) -> Manifest:
    pieces = {name: Piece(_whole(entry["bytes"]), _text(entry["sha256"])) for name, entry in document["pieces"].items()}
    databases = {
        name: Dump(
            _matching(_VERSION, entry["server"]),
            _matching(_VERSION, entry["pg_dump"]),
            tuple(_text(migration) for migration in entry["migrations"]),
        )
        for name, entry in document["databases"].items()
    }
    if set(pieces) != set(PIECES) or set(databases) != {"auth.dump", "images.dump"}:
        raise ValueError("pieces are missing, or there are others")
    for piece in pieces.values():
        _matching(_SHA256, piece.sha256)
    return Manifest(
        id=_matching(_ID, document["id"]),
        release=_text(document["release"]),
        commit=_text(document["commit"]),
        started_at=_moment(document["started_at"]),
        finished_at=_moment(document["finished_at"]),
        pieces=pieces,
        databases=databases,
        accounts=_whole(document["accounts"]),
        images=_whole(document["images"]),
        image_bytes=_whole(document["image_bytes"]),
        encryption_keys={_text(key): _text(mark) for key, mark in document["encryption_keys"].items()},
    )


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a number is none")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is none")
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    if not pattern.fullmatch(_text(value)):
        raise ValueError(f"{value[:80]!r} is not as it must be")
    return str(value)


def _moment(value: Any) -> dt.datetime:
    moment = dt.datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time has no zone")
    return moment.astimezone(dt.UTC)


def new_id(now: dt.datetime) -> str:
    """The id of a backup that begins now: ids sort as the backups began, also within a second."""
    return f"{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{now.microsecond:05x}{secrets.token_hex(2)[:3]}"


def began(backup_id: str) -> dt.datetime | None:
    """When the backup of that id began; None if it is no id of a backup."""
    found = _ID.fullmatch(backup_id)
    if found is None:
        return None
    try:
        return dt.datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def fingerprint(key: NamedKey) -> str:
    """By which the same key is known again. It says nothing about a key of 32 random bytes (HMAC-SHA256, RFC 2104)."""
    return hmac.new(key.secret, b"seawall backup: which key", hashlib.sha256).hexdigest()[:32]


def require_keys(manifest: Manifest, keys: Iterable[NamedKey]) -> None:
    """Raises Stopped if the signing keys in the backup need keys that are not among these."""
    present = {key.id: fingerprint(key) for key in keys}
    lacking = [key_id for key_id in manifest.encryption_keys if key_id not in present]
    other = [key_id for key_id, mark in manifest.encryption_keys.items() if mark and present.get(key_id, mark) != mark]
    if lacking or other:
        faults = [f"{key_id!r} is missing" for key_id in lacking]
        faults += [f"{key_id!r} is another key than it was" for key_id in other]
        raise Stopped(
            f"The signing keys in this backup cannot be decrypted: in KEY_ENCRYPTION_KEYS, {' and '.join(faults)}. "
            "Nothing was changed. Add the keys of then (of `up`: key_encryption_keys in secrets.json). If they are "
            "lost, restore with --lost-keys, and withdraw the signing keys afterwards: `signing_keys list` names them, "
            "`signing_keys revoke KID` makes new ones."
        )
