"""The running system of the suite, and its command `backup`."""

from __future__ import annotations

import ctypes
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from config.env import Environment
from config.settings._backup_store import backup_store
from tests.running import PATIENCE, PROJECT, environment_of, manage, state, until

_CAST_OR_BRACKET = re.compile(r"::(?:character varying|text)(?:\[\])?|[()]")
PIECES = ("auth.dump", "images.dump", "inventory.jsonl.gz", "manifest.json")


@dataclass
class Place:
    """A folder for backups, or whatever else `settings` says, and the command that works with it."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the command is told."""
        return {"BACKUP_STORE": "filesystem", "BACKUP_ROOT": str(self.folder)} | self.settings

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`manage.py backup`, to its end, in a process of its own."""
        return manage("backup", *words, environment=self.environment | environment)

    def here(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The same in this process, which is faster; `options` are settings."""
        storages, output, complaint, status = settings.STORAGES, io.StringIO(), "", 0
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            env = Environment()
            storages = storages | backup_store(env, storages["images"])
            env.seal()
        with override_settings(STORAGES=storages, **options):
            try:
                call_command("backup", *words, stdout=output)
            except CommandError as error:
                complaint, status = f"CommandError: {error}", error.returncode
            finally:
                connections.close_all()
        return subprocess.CompletedProcess(words, status, output.getvalue(), complaint)

    def good(self, *words: str) -> str:
        """The same, which must succeed; what it says."""
        finished = self.here(*words)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def refused(self, *words: str, **environment: str) -> str:
        """The same, which must fail, in words; these. With an `environment` it has a process of its own."""
        finished = self.run(*words, **environment) if environment else self.here(*words)
        assert finished.returncode == 1, finished.stdout + finished.stderr
        assert "Traceback" not in finished.stderr
        assert finished.stderr.startswith("CommandError: ") or "\nCommandError: " in finished.stderr
        for secret in secrets_of_the_console():
            assert secret not in finished.stdout + finished.stderr
        return " ".join(finished.stderr.split())

    def lines(self, *words: str, status: int = 0) -> list[dict[str, Any]]:
        """What it says to programs."""
        finished = self.here(*words, "--json")
        assert finished.returncode == status, finished.stdout + finished.stderr
        return [json.loads(line) for line in finished.stdout.splitlines()]

    def create(self) -> str:
        """A new backup's id."""
        return str(self.lines("create")[-1]["id"])

    def states(self) -> dict[str, str]:
        """The state of each backup, as `list` says it."""
        return {backup["id"]: backup["state"] for backup in self.lines("list")}

    def files(self) -> set[str]:
        """What lies in the folder."""
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}

    def copy(self, backup_id: str, number: int, **changes: Any) -> Path:
        """The folder of another backup like that one, an id later by so many years; `changes` are its manifest's."""
        other = f"{int(backup_id[:4]) + number}{backup_id[4:]}"
        shutil.copytree(self.folder / backup_id, self.folder / other)
        path = self.folder / other / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"id": other} | changes))
        return self.folder / other

    @contextmanager
    def held(self, *words: str, database: str = "auth", table: str = "credentials_refreshtoken") -> Iterator[Held]:
        """The command, begun, and waiting for a table that somebody else has locked, until `Held.release`."""
        with connected(database) as connection:
            connection.execute("BEGIN")
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            environment = {
                name: value
                for name, value in os.environ.items()
                if name not in {*environment_of("console"), "DJANGO_SETTINGS_MODULE"}
            }
            process = subprocess.Popen(
                [sys.executable, "manage.py", "backup", *words],
                cwd=PROJECT,
                env=environment | {"SEAWALL_STATE": str(state())} | self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            held = Held(process, connection)
            try:
                until(lambda: process.poll() is not None or waiting(database), "it waits", 4 * PATIENCE)
                assert process.poll() is None, process.communicate()
                yield held
            finally:
                held.release()
                if process.poll() is None:
                    process.kill()
                process.communicate()


@dataclass
class Held:
    """A command that waits for a lock."""

    process: subprocess.Popen[str]
    connection: psycopg.Connection[Any]

    def release(self) -> None:
        """Lets it go on."""
        self.connection.rollback()

    def ended(self) -> tuple[int, str]:
        """Its exit status and what it said, when it has come to its end."""
        _, said = self.process.communicate(timeout=8 * PATIENCE)
        assert "Traceback" not in said
        return self.process.returncode, " ".join(said.split())


def secrets_of_the_console() -> list[str]:
    """What nobody may hear: the passwords of both databases."""
    environment = environment_of("console")
    urls = [environment[f"{name}_DATABASE_URL"] for name in ("AUTH", "IMAGES")]
    return [url.partition("@")[0].rpartition(":")[2] for url in urls]


@contextmanager
def connected(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to one of the databases, in autocommit."""
    with psycopg.connect(environment_of("console")[f"{database.upper()}_DATABASE_URL"], autocommit=True) as connection:
        yield connection


def waiting(database: str) -> list[int]:
    """The servers' process ids of those of our commands that wait for a lock."""
    with connected(database) as connection:
        return [
            row[0]
            for row in connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                " AND application_name IN ('pg_dump', 'psql', 'seawall-backup')"
            )
        ]


def contents(database: str) -> dict[str, Any]:
    """What a database holds: its tables with all rows, triggers and functions."""
    with connected(database) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
                " AND relname NOT LIKE '%nonce' AND relname NOT LIKE '%_change%' ORDER BY 1"
            )
        ]
        found: dict[str, Any] = {
            table: connection.execute(
                f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t"  # noqa: S608
            ).fetchone()
            for table in tables
        }
        for what, query in {
            "triggers": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
            "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " ORDER BY 1",
            "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
            "constraints": "SELECT conrelid::regclass::text || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace ORDER BY 1",
            "columns": "SELECT table_name || '.' || column_name || ' ' || data_type || coalesce(column_default, '')"
            " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1",
            "owners": "SELECT DISTINCT relowner::regrole::text FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace",
            "sequences": "SELECT sequencename || ' ' || coalesce(last_value, 0) FROM pg_sequences ORDER BY 1",
        }.items():
            found[what] = [row[0] for row in connection.execute(query)]
    # PostgreSQL puts the casts of an IN list elsewhere when it reads a constraint again that it wrote itself.
    found["constraints"] = sorted(_CAST_OR_BRACKET.sub("", constraint) for constraint in found["constraints"])
    return found


@contextmanager
def ordinary_rights() -> Iterator[None]:
    """In the block this thread, root's too, may read and write no more than the permissions of a file say."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    held = (ctypes.c_uint32 * 6)()  # twice: effective, permitted, inheritable
    assert libc.capget(header, held) == 0, os.strerror(ctypes.get_errno())
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(header, fewer) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0, os.strerror(ctypes.get_errno())


def skip_unless(condition: object, package: str) -> None:
    """Skips the test where the machine lacks something."""
    if not condition:
        pytest.skip(f"install the package {package}")
