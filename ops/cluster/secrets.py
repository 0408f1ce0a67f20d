"""The secrets of an overlay: `secrets/<Secret>.env` beside its kustomization, from which kustomize makes Secrets.

Values that several Secrets share are the same in each of them: the service keys, the key encryption keys, and the
passwords of the databases, which are in their addresses, too. What exists is kept, and what is missing is
made from what exists wherever it can be, so that an interrupted run is finished by the next one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ops.cluster.overlay import layers
from ops.cluster.shapes import texts
from ops.errors import OperatorError
from ops.secrets import named_key, write_private_text

KEYS: dict[str, tuple[str, ...]] = {
    "gateway": ("SECRET_KEY", "SERVICE_KEYS"),
    "auth": ("SECRET_KEY", "SERVICE_KEYS", "KEY_ENCRYPTION_KEYS", "DATABASE_URL"),
    "images": ("SECRET_KEY", "SERVICE_KEYS", "DATABASE_URL"),
    "console": ("SECRET_KEY", "KEY_ENCRYPTION_KEYS", "AUTH_DATABASE_URL", "IMAGES_DATABASE_URL"),
    "postgres": ("POSTGRES_PASSWORD", "AUTH_PASSWORD", "IMAGES_PASSWORD", "EXPORTER_PASSWORD"),
    "postgres-exporter": ("DATA_SOURCE_PASS",),
}
"""The keys of each Secret that an overlay with secret files makes."""

DATABASE_HOST = "postgres.app-services.svc"

LOCK_SECONDS = 10.0
"""How long another run may take before this one gives up."""

_SHORTEST_SECRET_KEY = 50  # what the settings of every role ask for

Values = dict[str, dict[str, str]]
"""Secret → key → value."""


@dataclass(frozen=True)
class SecretFile:
    """What a run has done with one file: `added` are the keys that it has not had before."""

    path: Path
    added: tuple[str, ...]
    is_new: bool


class SecretFileError(OperatorError):
    """A file of secrets is damaged, or contradicts another one. Nothing was written."""


def create(overlay: Path) -> list[str]:
    """Complete the secret files of the overlay (a folder with a kustomization); the paths of those that it has changed.

    Raises NoOverlay, or OperatorError: a damaged file, files that contradict each other, a folder that cannot be
    written.
    """
    return [str(file.path) for file in complete(overlay) if file.added]


def complete(overlay: Path) -> list[SecretFile]:
    """The same, with every file and what was added to it. Files are 0600 afterwards and their folder is 0700.

    For an overlay that is built on another one and has no secrets of its own, these are the files of the other one.
    """
    folder = _folder(overlay)
    try:
        with _only_one(folder):
            return _complete(folder)
    except OSError as error:
        what = f"The secrets cannot be made: {error.filename or folder}: {error.strerror}."
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            do = "Make room there and run the same command again; the files that are there are whole."
        elif error.errno == errno.EROFS:
            do = "Make its file system writable, or copy the overlay to one that is."
        else:
            do = f"Run as the user to whom {overlay} belongs."
        raise OperatorError(f"{what} {do}") from error


def _folder(overlay: Path) -> Path:
    """Where the overlay, or the one that it is built on, expects the files."""
    for layer in layers(overlay, "resources"):
        sources = [source for entry in layer.entries("secretGenerator") for source in texts(entry.get("envs"))]
        if any(source.startswith("secrets/") for source in sources):
            return Path(os.path.normpath(layer.folder / "secrets"))
    raise OperatorError(
        f"{overlay} makes no Secrets from files: its Secrets must be on the cluster before it is deployed. "
        "`manage.py deploy --check` names those that are missing, with their keys."
    )


def _complete(folder: Path) -> list[SecretFile]:
    paths = {secret: folder / f"{secret}.env" for secret in KEYS}
    before = {secret: _text(path) for secret, path in paths.items()}
    stored = {secret: _parsed(paths[secret], text or "", KEYS[secret]) for secret, text in before.items()}
    wanted = _completed(stored)
    _check_agreement(folder, wanted)
    files = []
    for secret, path in paths.items():
        added = tuple(key for key in KEYS[secret] if key not in stored[secret])
        text = before[secret]
        if added:
            kept = text if text is None or text.endswith("\n") or not text else f"{text}\n"
            lines = [f"{key}={wanted[secret][key]}\n" for key in added]
            write_private_text(path, "".join([kept or "", *lines]))
        else:
            _close(path, 0o600)
        files.append(SecretFile(path=path, added=added, is_new=text is None))
    return files


def _close(path: Path, mode: int) -> None:
    """Give it this mode if it has another one: where all is right, nothing has to be writable."""
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Make the folder and keep other runs out, which would make other values. Raises OSError, OperatorError when
    another run does not end."""
    if not folder.is_dir():
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError as error:
            if not folder.is_dir():  # or another run was quicker
                raise OperatorError(
                    f"{folder} is no folder, and the secrets belong into one: move it away and run the same command "
                    "again."
                ) from error
    _close(folder, 0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(folder, descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                holder = _holder(descriptor) or "another process, which this user cannot see"
                raise OperatorError(
                    f"{folder} has been locked for {LOCK_SECONDS:.0f} s by {holder}: let it end, or end it, and run "
                    "the same command again."
                ) from None
            time.sleep(0.05)
        else:
            return


def _holder(descriptor: int) -> str | None:
    """Who has locked what this descriptor is of: process and command; None if Linux does not tell (proc_locks(5))."""
    status = os.fstat(descriptor)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1:2] == ["FLOCK"] and words[5] == place:
                command = Path(f"/proc/{words[4]}/cmdline").read_bytes().replace(b"\0", b" ")
                return f"process {words[4]} ({command.decode(errors='replace').strip()})"
    except (OSError, IndexError):
        pass
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise SecretFileError(
            f"{path} is a directory, and a file of secrets belongs in its place: move it away and run the same command "
            "again."
        ) from error
    except UnicodeDecodeError as error:
        raise SecretFileError(f"{path} is damaged: it is not text. {_WAY_OUT}") from error


_WAY_OUT = (
    "It may be the only copy of these values: repair it or restore it from a backup. Remove it only if the cluster "
    "holds no data that needs them."
)


def _parsed(path: Path, text: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """The values of an env file as kustomize reads it: blank lines and lines with # are left out, nothing is unquoted.

    A line without `=` is refused here: kustomize would take such a value from its own environment.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        fault = None
        if not equals:
            fault = "it is not KEY=VALUE"
        elif key not in allowed:
            fault = f"{key!r} is none of {', '.join(allowed)}"
        elif key in values:
            fault = f"{key} is there twice"
        elif not value:
            fault = f"{key} is empty"
        elif not value.isprintable() or " " in value or value[0] in "\"'":
            fault = f"the value of {key} has a quote, a space or another character that becomes part of it"
        elif key == "SECRET_KEY" and len(value) < _SHORTEST_SECRET_KEY:
            fault = f"SECRET_KEY has {len(value)} characters, and {_SHORTEST_SECRET_KEY} random ones are needed"
        if fault:
            raise SecretFileError(f"{path} is damaged in line {number}: {fault}. {_WAY_OUT}")
        values[key] = value
    return values


def _completed(stored: Values) -> Values:
    """All values: those that are stored, those that follow from them, and new ones for the rest."""
    values = {secret: dict(stored[secret]) for secret in KEYS}

    def settle(shared: list[tuple[str, str]], make: Callable[[], str]) -> None:
        """Give each of these (Secret, key) the value of the first that has one."""
        known = next((values[secret][key] for secret, key in shared if key in values[secret]), None)
        value = known or make()
        for secret, key in shared:
            values[secret].setdefault(key, value)

    for secret in ("gateway", "auth", "images", "console"):
        settle([(secret, "SECRET_KEY")], lambda: secrets.token_urlsafe(48))
    # Auth first: while service keys rotate, its list is the one that every caller's first key is in.
    settle([("auth", "SERVICE_KEYS"), ("images", "SERVICE_KEYS"), ("gateway", "SERVICE_KEYS")], _new_key)
    settle([("auth", "KEY_ENCRYPTION_KEYS"), ("console", "KEY_ENCRYPTION_KEYS")], _new_key)
    settle([("postgres", "POSTGRES_PASSWORD")], _new_password)
    settle([("postgres", "EXPORTER_PASSWORD"), ("postgres-exporter", "DATA_SOURCE_PASS")], _new_password)
    for role in ("auth", "images"):
        addresses = [(role, "DATABASE_URL"), ("console", f"{role.upper()}_DATABASE_URL")]
        stored_address = next((values[secret][key] for secret, key in addresses if key in values[secret]), None)
        password = (stored_address and _password(stored_address)) or _new_password()
        password = values["postgres"].setdefault(f"{role.upper()}_PASSWORD", password)
        address = f"postgres://{role}:{quote(password, safe='')}@{DATABASE_HOST}:5432/{role}"
        settle(addresses, lambda address=address: address)  # type: ignore[misc]
    return values


def _new_key() -> str:
    return named_key("first")


def _new_password() -> str:
    return secrets.token_urlsafe(24)


def _password(address: str) -> str | None:
    """The password in the address of our own PostgreSQL; None for another server's, or what is no address."""
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return None
    return unquote(parts.password) if host == DATABASE_HOST and parts.password else None


def _check_agreement(folder: Path, values: Values) -> None:
    """Refuse what cannot work together. Lists of keys may differ, as they do while keys rotate, but not in the first:
    what one signs or encrypts with, the others must know."""
    for key, secret, other in (
        ("SERVICE_KEYS", "gateway", "auth"),
        ("SERVICE_KEYS", "gateway", "images"),
        ("SERVICE_KEYS", "images", "auth"),
        ("KEY_ENCRYPTION_KEYS", "auth", "console"),
        ("KEY_ENCRYPTION_KEYS", "console", "auth"),
    ):
        if values[secret][key].split(",")[0].strip() not in {part.strip() for part in values[other][key].split(",")}:
            raise SecretFileError(
                f"The first key of {key} in {folder / secret}.env is not in that of {other}.env: {other} would refuse "
                f"what {secret} has made with it. Add it there, behind the others."
            )
    passwords = values["postgres"]
    for role in ("auth", "images"):
        for secret, key in ((role, "DATABASE_URL"), ("console", f"{role.upper()}_DATABASE_URL")):
            password = _password(values[secret][key])
            if password is not None and password != passwords[f"{role.upper()}_PASSWORD"]:
                raise SecretFileError(
                    f"The password in {key} of {folder / secret}.env is not {role.upper()}_PASSWORD of postgres.env: "
                    "make them equal, to what the database knows if it exists already."
                )
    if values["postgres-exporter"]["DATA_SOURCE_PASS"] != passwords["EXPORTER_PASSWORD"]:
        raise SecretFileError(
            f"DATA_SOURCE_PASS of {folder / 'postgres-exporter'}.env is not EXPORTER_PASSWORD of postgres.env: make "
            "them equal, to what the database knows if it exists already."
        )
