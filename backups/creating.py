"""A backup is made: both databases at one moment each, the inventory of the images of it, the manifest last."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from backups import databases, inventory, programs
from backups import manifest as manifests
from backups.catalogue import State, backups
from backups.errors import Stopped
from backups.manifest import Dump, Manifest, Piece
from backups.places import BackupPlace
from backups.places.base import CHUNK
from backups.programs import Children, Programs

Progress = Callable[[int], None]
"""Hears how many bytes have come."""

_NOTHING_LEFT = "No backup was made, and nothing of it is left."


@dataclass(frozen=True, slots=True)
class _Source:
    """What a dump is made of and with."""

    alias: str
    server: str
    programs: Programs
    snapshot: str


class NotDue(Exception):
    """There is a backup that is young enough.

    Attributes:
        age: of the newest one.
    """

    def __init__(self, age: dt.timedelta) -> None:
        super().__init__(f"the newest backup is {age.total_seconds():.0f} s old")
        self.age = age


def create(place: BackupPlace, *, progress: Progress, if_older_than: dt.timedelta | None = None) -> Manifest:
    """Makes a backup; returns its manifest.

    Args:
        place: where to.
        progress: hears how many bytes are written.
        if_older_than: only if there is none that is younger.

    Raises:
        NotDue: there is one.
        Stopped: it could not be made; what was written of it is removed, or is without a manifest, which is the same.
        DatabaseError, OSError: the same, where a database or the place failed.
    """
    _require_due(place, if_older_than)  # most often nothing is, and no database need be asked
    place.require_usable(writing=True)
    servers = {alias: databases.server_version(alias) for alias in databases.NAMES}
    tools = {alias: programs.find(int(server.partition(".")[0])) for alias, server in servers.items()}
    with databases.only_one():
        _require_due(place, if_older_than)  # somebody else may have made one meanwhile
        started_at = timezone.now()
        backup_id = manifests.new_id(started_at)
        try:
            with databases.snapshots() as ids:
                sources = {
                    piece: _Source(alias, servers[alias], tools[alias], ids[alias])
                    for piece, alias in databases.PIECES.items()
                }
                dumps = {
                    piece: Dump(source.server, source.programs.version, tuple(databases.applied(source.alias)))
                    for piece, source in sources.items()
                }
                held = databases.contents()
                keys = _encryption_keys()
                pieces = _write_pieces(place, backup_id, sources, progress)
            manifest = Manifest(
                id=backup_id,
                release=settings.VERSION,
                commit=settings.COMMIT,
                started_at=started_at,
                finished_at=timezone.now(),
                pieces=pieces,
                databases=dumps,
                accounts=held.accounts,
                images=held.images,
                image_bytes=held.image_bytes,
                encryption_keys=keys,
            )
            place.write(f"{backup_id}/{manifests.NAME}", [manifest.to_json()])
        except BaseException as error:
            left = _removed(place, backup_id)
            if isinstance(error, Stopped):
                raise Stopped(f"{error} {left}") from error
            error.add_note(left)
            raise
    return manifest


def _require_due(place: BackupPlace, age: dt.timedelta | None) -> None:
    if age is not None and (newest := newer_than(place, age)) is not None:
        raise NotDue(newest)


def _write_pieces(
    place: BackupPlace, backup_id: str, sources: dict[str, _Source], progress: Progress
) -> dict[str, Piece]:
    """Both dumps in threads of their own, the inventory in this one, which has the snapshots."""
    children = Children()
    told = _Told(progress)
    with ThreadPoolExecutor(len(sources)) as pool:
        try:
            begun: dict[str, Future[Piece]] = {
                piece: pool.submit(_dump, place, f"{backup_id}/{piece}", source, children, told)
                for piece, source in sources.items()
            }
            listed = _write(place, f"{backup_id}/{manifests.INVENTORY}", inventory.recorded(lambda _: None), told)
            done, _ = wait(begun.values(), return_when=FIRST_EXCEPTION)
            for future in done:
                if failed := future.exception():
                    raise failed
            return {piece: future.result() for piece, future in begun.items()} | {manifests.INVENTORY: listed}
        except BaseException:
            children.stop()
            raise


def _dump(place: BackupPlace, name: str, source: _Source, children: Children, told: _Told) -> Piece:
    address, environment = programs.reach(databases.parameters(source.alias))
    arguments = [
        source.programs.path("pg_dump"),
        "--format=custom",
        "--no-password",
        "--schema=public",
        "--lock-wait-timeout=60s",
        f"--snapshot={source.snapshot}",
        *(f"--exclude-table-data=public.{table}" for table in databases.SHORT_LIVED),
        f"--dbname={address}",
    ]
    with children.run(arguments, environment) as running:

        def output() -> Iterator[bytes]:
            while chunk := running.stdout.read(CHUNK):
                yield chunk
            try:
                running.finish()  # what ended early has no name in the place
            except Stopped as stopped:
                raise Stopped(f"The {databases.NAMES[source.alias]} database was not dumped. {stopped}") from stopped

        return _write(place, name, output(), told)


def _write(place: BackupPlace, name: str, chunks: Iterable[bytes], told: _Told) -> Piece:
    digest, size = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            told.more(len(chunk))
            yield chunk

    place.write(name, counted())
    return Piece(size, digest.hexdigest())


def _encryption_keys() -> dict[str, str]:
    known = {key.id: manifests.fingerprint(key) for key in settings.KEY_ENCRYPTION_KEYS}
    keys = databases.model("credentials.SigningKey")._default_manager.exclude(encryption_key_id="")
    needed = keys.order_by("encryption_key_id").values_list("encryption_key_id", flat=True).distinct()
    return {key_id: known.get(key_id, "") for key_id in needed}


def _removed(place: BackupPlace, backup_id: str) -> str:
    """Removes what there is of a backup, and says how that went."""
    try:
        place.remove([f"{backup_id}/{piece}" for piece in (manifests.NAME, *manifests.PIECES)])
    except OSError:
        return (
            f"No backup was made. What was written of {backup_id} could not be removed: it counts as none, and "
            "`backup prune` removes it a day later."
        )
    return _NOTHING_LEFT


class _Told:
    """Adds up what several threads have written."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = 0

    def more(self, size: int) -> None:
        self._total += size
        self._progress(self._total)


def newer_than(place: BackupPlace, age: dt.timedelta) -> dt.timedelta | None:
    """How old the newest complete backup is, if it is younger than `age`."""
    now = timezone.now()
    complete = (backup for backup in backups(place) if backup.state is State.COMPLETE)
    # One of tomorrow was made while a clock was wrong: it says nothing about today.
    since = next((now - backup.began for backup in complete if backup.began <= now), None)
    return since if since is not None and since < age else None
