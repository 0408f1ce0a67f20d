"""What must be done before roles can serve: tables brought up to date, static files collected.

Each takes a Django start, a second or more, so both are skipped when nothing they depend on has changed. What they
depend on is looked at, never assumed: the migrations recorded in the databases themselves are part of it.
"""

from __future__ import annotations

import hashlib
import json
import site
import sys
from collections.abc import Iterable
from pathlib import Path

import psycopg

from ops.errors import OperatorError
from ops.layout import CONSOLE, DATABASES, PROJECT, Role, State
from ops.processes import Command
from ops.secrets import DatabaseUrls, write_private


class PreparationError(OperatorError):
    """A database cannot be reached. The message says which and why."""


def migration_fingerprint(databases: DatabaseUrls) -> str:
    """Changes whenever `migrate` could have something to do. Raises PreparationError.

    It covers the migrations of the checkout, the installed packages, and what each database says was applied when.
    """
    digest = hashlib.sha256()
    _add_files(digest, PROJECT.glob("[!.]*/migrations/*.py"))
    _add_packages(digest)
    for name, url in zip(DATABASES, (databases.auth, databases.images), strict=True):
        try:
            with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
                known = connection.execute("SELECT to_regclass('django_migrations')").fetchone()
                rows: list[tuple[object, ...]] = []
                if known and known[0]:
                    rows = connection.execute(
                        "SELECT app, name, applied::text FROM django_migrations ORDER BY id"
                    ).fetchall()
                digest.update(json.dumps([name, rows]).encode())
        except psycopg.Error as error:
            raise PreparationError(f"The {name} database cannot be reached: {str(error).strip()}") from error
    return digest.hexdigest()


def static_fingerprint() -> str:
    """Changes whenever `collectstatic` could have something to do."""
    digest = hashlib.sha256()
    _add_files(digest, (path for path in PROJECT.glob("[!.]*/static/**/*") if path.is_file()))
    _add_files(digest, PROJECT.glob("config/settings/*.py"))
    _add_packages(digest)
    return digest.hexdigest()


def migrate_command(state: State, environment: dict[str, str], database: str, log: Path) -> Command:
    """`manage.py migrate` of one database alias, under the console's settings, which know both."""
    return _manage(state, CONSOLE, environment, log, "migrate", "--no-input", "--database", database)


def collectstatic_command(state: State, role: Role, environment: dict[str, str], log: Path) -> Command:
    """`manage.py collectstatic` into the static folder of a role."""
    return _manage(state, role, environment, log, "collectstatic", "--no-input", "--clear")


def read_stamp(state: State, name: str) -> str | None:
    """The fingerprint that was noted last under this name."""
    value = _stamps(state).get(name)
    return value if isinstance(value, str) else None


def write_stamp(state: State, name: str, fingerprint: str) -> None:
    """Note that the work was done for this fingerprint."""
    write_private(state.stamps, {**_stamps(state), name: fingerprint})


def _stamps(state: State) -> dict[str, object]:
    try:
        stamps = json.loads(state.stamps.read_text())
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def _manage(state: State, role: Role, environment: dict[str, str], log: Path, *words: str) -> Command:
    return Command(
        (sys.executable, str(PROJECT / "manage.py"), *words),
        log=log,
        environment={**environment, "DJANGO_SETTINGS_MODULE": role.settings, "SEAWALL_STATE": str(state.root)},
        cwd=PROJECT,
    )


def _add_files(digest: hashlib._Hash, paths: Iterable[Path]) -> None:
    for path in sorted(paths):
        digest.update(f"{path.relative_to(PROJECT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())


def _add_packages(digest: hashlib._Hash) -> None:
    """Names and versions of what is installed, as the folders of their metadata tell."""
    names = sorted(path.name for folder in site.getsitepackages() for path in Path(folder).glob("*.dist-info"))
    digest.update("\0".join(names).encode())
