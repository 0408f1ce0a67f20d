"""PostgreSQL servers that can be frozen, killed, followed by a standby and replaced by it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ops.postgres import SUPERUSER, Binaries, Postgres
from ops.processes import Command, Identity, end_now, last_lines, spawn
from ops.procfs import process_table
from tests.running import until
from tests.support import free_port

HOST = "127.0.0.1"
START_SECONDS = 60.0
STANDBY = "second"  # its name at the primary


class Server:
    """One PostgreSQL server. What it acknowledged survives its processes, not its machine: nothing is synced."""

    def __init__(self, folder: Path, *, password: str, binaries: Binaries, identity: Identity | None) -> None:
        self.folder = folder
        self.identity = identity
        self.binaries = binaries
        self.port = free_port()
        self._password = password
        self.log = folder.with_name(f"{folder.name}.log")
        self._make_folder()
        self._postgres = Postgres(
            folder,
            port=self.port,
            password=password,
            binaries=binaries,
            log=self.log,
            identity=identity,
            durable=False,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Makes its data, empty."""
        with self._postgres.initialisation() as command:
            assert spawn(command).wait() == 0, self._log()

    def follow(self, primary: Server) -> None:
        """Makes its data anew: a copy of the primary's, which it follows from its start on."""
        self.kill()
        shutil.rmtree(self.folder)
        self._make_folder()
        origin = f"host={HOST} port={primary.port} user={SUPERUSER} application_name={STANDBY}"
        command = Command(
            (
                str(self.binaries.postgres.with_name("pg_basebackup")),
                *("--pgdata", str(self.folder / "data"), "--dbname", origin),
                *("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync"),
            ),
            log=self.log,
            environment={"PGPASSWORD": self._password, "HOME": "/"},
            identity=self.identity,
        )
        assert spawn(command).wait() == 0, self._log()

    def start(self) -> None:
        """Starts it, and waits until it lets clients in. Call it from the main thread: it ends with its starter."""
        command = self._postgres.command()
        # Acknowledged is what a standby has, where there is one: without syncs, and all the same not before.
        command = replace(command, argv=(*command.argv, "-c", "synchronous_commit=on"))
        process = self._process = spawn(command)

        def ready() -> bool:
            assert process.poll() is None, self._log()
            return self._postgres.is_ready(process.pid)

        until(ready, "PostgreSQL lets clients in", START_SECONDS)

    def furnish(self, passwords: dict[str, str]) -> None:
        """Makes databases with their users."""
        self._postgres.ensure_databases(passwords)

    def ask(self, query: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a query of the superuser finds."""
        with self._postgres.connect(database) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def locked(self, table: str, database: str, mode: str = "ACCESS EXCLUSIVE") -> Iterator[None]:
        """Whoever needs the table waits, inside the block. In SHARE mode it can be read."""
        with self._postgres.connect(database) as connection, connection.transaction():
            connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
            yield

    def wait_for_standby(self) -> None:
        """From now on a COMMIT is acknowledged when the standby has it."""
        self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        self.ask("SELECT pg_reload_conf()")
        synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
        until(lambda: self.ask(synchronous), "the standby follows")

    def promote(self) -> None:
        """It is the primary from now on."""
        assert self.ask("SELECT pg_promote(true, 30)") == [(True,)]

    def make_read_only(self, *, on: bool) -> None:
        """Connections stay, and can write no more: what a managed server does with the one that was the primary."""
        self.ask(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.ask("SELECT pg_reload_conf()")
        state = [("on" if on else "off",)]
        until(lambda: self.ask("SHOW default_transaction_read_only") == state, "the configuration is read")

    def drop_connections(self) -> int:
        """Ends every client's connection; returns how many there were."""
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename <> 'postgres'"
        )
        return len(self.ask(query))

    def processes(self) -> list[int]:
        """The main process and all of its children."""
        assert self._process is not None
        main = self._process.pid
        return [main, *(stat.pid for stat in process_table() if stat.parent == main and not stat.zombie)]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of it moves inside the block; the kernel goes on taking connections and bytes for it."""
        pids = self.processes()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to all of its processes at the same moment, if it runs."""
        if self._process is None:
            return
        if self._process.poll() is None:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        end_now(self._process)
        self._process.wait()
        self._process = None

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700)
        if self.identity:
            os.chown(self.folder, self.identity.uid, self.identity.gid)

    def _log(self) -> str:
        return "\n".join(last_lines(self.log, 20))
