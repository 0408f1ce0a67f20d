"""Under which user, and where, PostgreSQL can run when `up` runs as root.

PostgreSQL refuses to run as root, so it gets an unprivileged user that exists: `postgres`, else `nobody`. That user
must reach the program and the data; a checkout under /root is closed to it, and opening the folders above would be an
intrusion. Then both live in a folder outside, named after the state folder's own id, so that a state folder that is
moved still finds its data.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ops.postgres import Binaries, PostgresError
from ops.processes import Identity

OUTSIDE = Path("/var/lib/seawall")
_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class Place:
    """Where PostgreSQL keeps its files, what it is, and who runs it (None: we ourselves).

    `note` tells the person about a place that they would not expect.
    """

    folder: Path
    binaries: Binaries
    identity: Identity | None
    note: str | None = None


def find_place(inside: Path, system_id: str, binaries: Binaries) -> Place:
    """The place for the PostgreSQL of a state folder; data that exists is always found again. Raises PostgresError.

    `inside` is the folder that it has in the state folder when nothing speaks against that.
    """
    if os.geteuid() != 0:
        return _own_place(inside, binaries)
    outside = OUTSIDE / system_id
    for folder in (outside, inside):
        if (folder / "data" / "PG_VERSION").exists():
            owner = (folder / "data").stat()
            if owner.st_uid == 0:
                raise PostgresError(
                    f"{folder / 'data'} belongs to root, and PostgreSQL refuses to run as root: "
                    f"chown -R it to the user that PostgreSQL ran as ({' or '.join(_CANDIDATES)})."
                )
            identity = Identity(owner.st_uid, owner.st_gid)
            if not _can_enter(folder, identity):
                raise PostgresError(
                    f"PostgreSQL's data in {folder} belongs to user {identity.uid}, who cannot pass through "
                    "the folders above it: give them back the permission x for others, or run `up` as that user."
                )
            return _reachable(folder, binaries, identity)
    identity = _unprivileged()
    _make_folder(inside, identity)
    if _can_enter(inside, identity):
        return _reachable(inside, binaries, identity)
    inside.rmdir()
    OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
    _make_folder(outside, identity)
    return _reachable(outside, binaries, identity)


def _own_place(inside: Path, binaries: Binaries) -> Place:
    try:
        inside.mkdir(mode=0o700, exist_ok=True)
        os.listdir(inside)
    except PermissionError as error:
        raise PostgresError(
            f"PostgreSQL's data in {inside} belongs to another user (was `up` run as root before?): run `up` as that "
            "user, or choose another folder with --state."
        ) from error
    return Place(inside, binaries, None)


def _reachable(folder: Path, binaries: Binaries, identity: Identity) -> Place:
    """The place, with a copy of the programs outside if the user cannot run the original."""
    user = _user_name(identity)
    notes = []
    if folder.is_relative_to(OUTSIDE):
        notes.append(f"PostgreSQL runs as user {user}, who cannot enter the state folder: its data is in {folder}")
    if not _can_run(binaries, identity):
        copy = OUTSIDE / f"postgres-{binaries.version}"
        if not copy.exists():
            _copy_binaries(binaries, copy)
        binaries = binaries.moved_to(copy)
        if not _can_run(binaries, identity):
            raise PostgresError(f"User {user} can run neither {binaries.postgres} nor the original of it.")
        notes.append(f"its program in {copy}")
    return Place(folder, binaries, identity, ", ".join(notes) or None)


def _copy_binaries(binaries: Binaries, target: Path) -> None:
    OUTSIDE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTSIDE, prefix=".partial-") as scratch:
        partial = Path(scratch) / "copy"
        for source in binaries.parts:
            shutil.copytree(
                binaries.root / source,
                partial / source,
                symlinks=True,
                ignore=shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "__pycache__"),
            )
        partial.chmod(0o755)
        partial.replace(target)


def _unprivileged() -> Identity:
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid:
            return Identity(entry.pw_uid, entry.pw_gid)
    raise PostgresError(
        f"PostgreSQL refuses to run as root, and there is no user {' or '.join(_CANDIDATES)}: run `up` as another user."
    )


def _make_folder(folder: Path, identity: Identity) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(folder, identity.uid, identity.gid)


def _can_enter(folder: Path, identity: Identity) -> bool:
    return _succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)], identity)


def _can_run(binaries: Binaries, identity: Identity) -> bool:
    return all(_succeeds([str(program), "--version"], identity) for program in (binaries.postgres, binaries.initdb))


def _succeeds(argv: list[str], identity: Identity) -> bool:
    """Tried rather than derived from mode bits: access lists and mounts have a say, too."""
    try:
        return (
            subprocess.run(
                argv,
                cwd="/",
                user=identity.uid,
                group=identity.gid,
                extra_groups=[],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            ).returncode
            == 0
        )
    except PermissionError:
        return False


def _user_name(identity: Identity) -> str:
    try:
        return pwd.getpwuid(identity.uid).pw_name
    except KeyError:
        return str(identity.uid)
