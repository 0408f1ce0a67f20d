"""The running system on one machine: brings everything up, keeps it so, takes it down.

Whatever does not depend on something else starts at once; what needs a database waits for it to be migrated, what
serves static files for those to be collected. From then on each role is kept by its `Supervised`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ops import control
from ops.chores import do_chores
from ops.errors import OperatorError
from ops.health import answers_ok
from ops.layout import (
    CONSOLE,
    DATABASES,
    FILES,
    GATEWAY,
    HIGHEST_PORT_BASE,
    METRICS,
    POSTGRES,
    PROJECT,
    ROLES,
    Ports,
    Role,
    State,
)
from ops.leftovers import end_leftovers, note_processes
from ops.nginx import files_command, find_nginx, metrics_command, metrics_file
from ops.ports import is_free, taken_ports, wanted_ports
from ops.postgres import Binaries, Postgres
from ops.preparation import (
    collectstatic_command,
    migrate_command,
    migration_fingerprint,
    read_stamp,
    static_fingerprint,
    write_stamp,
)
from ops.processes import Command, StopStep, last_lines, run_to_end
from ops.progress import Progress
from ops.secrets import DatabaseUrls, Secrets, environments, server_environment, write_environments
from ops.supervised import Supervised
from ops.unprivileged import find_place

PROBE_SECONDS = 1.0
METRICS_SECONDS = 20.0
"""Age at which the metrics of files are old: they are written every five seconds even if nobody asks for an image."""
ROLES_STOP_SECONDS = 4.5
_SERVER_OVERRIDES = ("LOG_LEVEL", "WORKERS", "THREADS")
"""Variables of the person's own environment that the serving processes do get."""


class StartError(OperatorError):
    """The system cannot be brought up. The message says why and what to do."""


@dataclass(frozen=True)
class Options:
    """What the person asked for. `databases` is given exactly when `postgres` is `url`; `chores_every` 0 is never."""

    state: State
    ports: Ports
    roles: tuple[Role, ...]
    postgres: Literal["embedded", "system", "url"] = "embedded"
    databases: DatabaseUrls | None = None
    ready_seconds: float = 90.0
    chores_every: float = 3600.0


class Supervisor:
    """One `up`, from its first check to the end of its last process."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._state = options.state
        self._ports = options.ports
        self._progress = progress
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._taking_down = False
        self._supervised: dict[str, Supervised] = {}
        self._secrets: Secrets
        self._databases: DatabaseUrls
        self._environments: dict[str, dict[str, str]]
        self._postgres: Postgres | None = None

    async def run(self, welcome: Callable[[], str]) -> None:
        """Bring everything up, say `welcome`, and stay until a signal (INT, TERM, HUP) asks to stop.

        Raises OperatorError. Whatever happens, no process of the system is left when it returns. A second signal ends
        patience.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # started with nohup
            loop.add_signal_handler(number, self._asked_to_stop)
        self._make_state_folder()
        with _only_one(self._state):
            server: asyncio.Server | None = None
            try:
                self._check_machine()
                server = await control.serve(self._state, self._answer)
                if await self._until_stopped(self._bring_up()):
                    self._progress.close()
                    self._progress.say(welcome())
                    await self._until_stopped(self._do_chores())
            finally:
                self._progress.close()
                if server is not None:
                    server.close()
                    control.remove(self._state)
                await self._take_down()

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def _until_stopped(self, work: Coroutine[None, None, None]) -> bool:
        """Do the work unless a signal comes first. Whether it was done; its error is raised."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                return False
            await task
            return True
        finally:
            task.cancel()
            stopped.cancel()
            await asyncio.wait({task, stopped})

    async def _do_chores(self) -> None:
        every = self._options.chores_every
        if not every or not any(role.needs_database for role in self._options.roles):
            await self._stop.wait()
            return
        environment = self._environments[CONSOLE.name]
        await do_chores(self._state, environment, every=every, say=self._progress.say)

    # Before anything is started

    def _check_machine(self) -> None:
        """Read the secrets, choose the places, and refuse what cannot work. Starts nothing. Raises OperatorError."""
        if not sys.platform.startswith("linux"):
            raise StartError(
                "`up` looks after its processes with the means of Linux: run it in a Linux container or VM."
            )
        for name in end_leftovers(self._state):
            self._progress.say(f"Ended {name}, which an earlier `up` had left behind.")
        self._secrets = Secrets.load_or_generate(self._state)
        self._databases = self._options.databases or DatabaseUrls.local(self._secrets, self._ports)
        self._environments = environments(self._state, self._secrets, self._ports, self._databases)
        write_environments(self._state, self._environments)
        if FILES in self._options.roles:
            find_nginx()
        if self._runs_postgres:
            self._postgres = self._find_postgres()
            pid = self._postgres.running_pid()
            if pid is not None:
                raise StartError(
                    f"Another PostgreSQL (process {pid}) runs on the data in {self._postgres.data}: "
                    f"stop it (kill {pid}), or choose another folder with --state."
                )
        taken = taken_ports(wanted_ports(self._ports, self._options.roles))
        if taken:
            base = _other_base(self._ports.base, self._options.roles)
            holders = "\n".join(map(str, taken))
            raise StartError(
                f'{holders}\nStop what holds it, or let everything use other ports: make up ARGS="--port-base {base}"'
            )

    def _make_state_folder(self) -> None:
        try:
            self._state.create()
        except OSError as error:
            raise StartError(
                f"The state folder {self._state.root} cannot be made: {error.strerror}. Choose one with --state."
            ) from error

    @property
    def _runs_postgres(self) -> bool:
        return POSTGRES in self._options.roles

    def _find_postgres(self) -> Postgres:
        binaries = Binaries.system() if self._options.postgres == "system" else Binaries.embedded()
        place = find_place(self._state.postgres, self._secrets.system_id, binaries)
        if place.note:
            self._progress.say(f"{place.note}.")
        return Postgres(
            place.folder,
            port=self._ports.application(POSTGRES),
            password=self._secrets.postgres_password,
            binaries=place.binaries,
            identity=place.identity,
            log=self._state.log(POSTGRES),
        )

    # Bringing up

    async def _bring_up(self) -> None:
        """Everything at once that does not need something else first. Raises StartError."""
        roles = self._options.roles
        try:
            async with asyncio.TaskGroup() as group:
                database = group.create_task(self._prepare_databases())
                for role in roles:
                    if role == POSTGRES:
                        continue
                    first: list[Awaitable[None]] = [database] if role.needs_database else []
                    group.create_task(self._bring_up_role(role, first))
        except BaseExceptionGroup as errors:
            first_error = _first(errors)
            if isinstance(first_error, OperatorError):
                raise first_error from None
            raise

    async def _bring_up_role(self, role: Role, first: list[Awaitable[None]]) -> None:
        if role in (GATEWAY, CONSOLE):
            await self._collect_static(role)
        for work in first:
            await work
        self._progress.begin(role.name)
        await self._start(self._make_supervised(role))
        self._progress.done(role.name)

    async def _prepare_databases(self) -> None:
        """PostgreSQL runs, the databases are there, every table is as the code wants it."""
        if not any(role.needs_database or role == POSTGRES for role in self._options.roles):
            return
        if self._postgres is not None:
            await self._bring_up_postgres(self._postgres)
        if not any(role.needs_database for role in self._options.roles):
            return
        self._progress.begin("tables")
        fingerprint = await asyncio.to_thread(migration_fingerprint, self._databases)
        if read_stamp(self._state, "migrations") == fingerprint:
            self._progress.done("tables", "up to date")
            return
        log = self._state.log(CONSOLE).with_name("migrate.log")
        async with asyncio.TaskGroup() as group:
            for alias in ("default", "images"):
                command = migrate_command(self._state, self._environments[CONSOLE.name], alias, log)
                group.create_task(self._job(f"Migrating the database {alias}", command))
        write_stamp(self._state, "migrations", await asyncio.to_thread(migration_fingerprint, self._databases))
        self._progress.done("tables", "migrated")

    async def _bring_up_postgres(self, postgres: Postgres) -> None:
        self._progress.begin(POSTGRES.name)
        note = f"ready, version {postgres.binaries.version}"
        if not postgres.exists():
            with postgres.initialisation() as command:
                await run_to_end(command)
            note += ", new data folder"
        await self._start(self._make_supervised(POSTGRES))
        await asyncio.to_thread(
            postgres.ensure_databases, {name: self._secrets.database_passwords[name] for name in DATABASES}
        )
        self._progress.done(POSTGRES.name, note)

    async def _collect_static(self, role: Role) -> None:
        step = f"static files of {role.name}"
        self._progress.begin(step)
        fingerprint = await asyncio.to_thread(static_fingerprint)
        stamp = f"static {role.name}"
        if read_stamp(self._state, stamp) == fingerprint and self._state.static(role).is_dir():
            self._progress.done(step, "up to date")
            return
        log = self._state.log(role).with_name("collectstatic.log")
        await self._job(
            f"Collecting the static files of {role.name}",
            collectstatic_command(self._state, role, self._environments[role.name], log),
        )
        write_stamp(self._state, stamp, fingerprint)
        self._progress.done(step, "collected")

    async def _job(self, what: str, command: Command) -> None:
        code = await run_to_end(command)
        if code:
            raise StartError(_with_log(f"{what} failed (exit status {code})", command.log))

    async def _start(self, supervised: Supervised) -> None:
        """Start a role and wait until it is ready. Raises StartError if it falls or takes too long."""
        supervised.start()
        ready = asyncio.create_task(supervised.until_ready())
        ended = asyncio.create_task(supervised.ended.wait())
        try:
            done, _ = await asyncio.wait(
                {ready, ended}, timeout=self._options.ready_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            name, log = supervised.role.name, self._state.log(supervised.role)
            if ended in done:
                raise StartError(_with_log(f"{name} ended ({supervised.last_exit}) before it was ready", log))
            if ready not in done:
                seconds = self._options.ready_seconds
                raise StartError(_with_log(f"{name} runs but did not become ready within {seconds:g} s", log))
        finally:
            ready.cancel()
            ended.cancel()

    def _make_supervised(self, role: Role) -> Supervised:
        management = self._ports.management(role)
        if role == POSTGRES:
            postgres = self._postgres
            assert postgres is not None

            async def is_ready(pid: int) -> bool:
                return postgres.is_ready(pid)

            async def is_alive(pid: int) -> bool:
                return True  # the server watches its own processes; its end is seen as an exit

            command = postgres.command
        else:
            assert management is not None

            async def is_ready(pid: int) -> bool:
                return await answers_ok(management, "/readyz", PROBE_SECONDS)

            async def is_alive(pid: int) -> bool:
                return await answers_ok(management, "/livez", PROBE_SECONDS)

            command = partial(files_command, self._state, self._ports) if role == FILES else partial(self._serve, role)
        supervised = Supervised(
            role,
            port=self._ports.application(role),
            management_port=management,
            command=command,
            is_ready=is_ready,
            is_alive=is_alive,
            spawned=self._note_processes,
            say=self._progress.event,
            hurry=self._hurry,
            companion=self._make_metrics_writer() if role == FILES else None,
        )
        self._supervised[role.name] = supervised
        return supervised

    def _make_metrics_writer(self) -> Supervised:
        """What counts for nginx. It has no port: it lives, and is ready, when what it writes is new."""
        written = metrics_file(self._state)

        async def is_writing(pid: int) -> bool:
            try:
                return time.time() - written.stat().st_mtime < METRICS_SECONDS
            except OSError:
                return False

        return Supervised(
            METRICS,
            port=self._ports.application(METRICS),
            management_port=None,
            command=partial(metrics_command, self._state, self._ports),
            is_ready=is_writing,
            is_alive=is_writing,
            spawned=self._note_processes,
            say=self._progress.event,
            hurry=self._hurry,
        )

    def _serve(self, role: Role) -> Command:
        """A Django role under gunicorn."""
        overrides = {name: os.environ[name] for name in _SERVER_OVERRIDES if name in os.environ}
        return Command(
            (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"),
            log=self._state.log(role),
            environment={
                **self._environments[role.name],
                **server_environment(self._state, role, self._ports),
                **overrides,
            },
            cwd=PROJECT,
            death_signal=signal.SIGTERM,
            stop_steps=(StopStep(signal.SIGTERM, ROLES_STOP_SECONDS),),
        )

    def _note_processes(self) -> None:
        pids = {name: pid for supervised in self._supervised.values() for name, pid in supervised.pids.items()}
        note_processes(self._state, pids)

    # While it runs

    async def _answer(self, request: control.Request) -> control.Reply:
        """Reply to `status`, `stop`, `start` and `restart`."""
        match request:
            case {"command": "status"}:
                roles = [
                    supervised.status() for name in ROLES if (supervised := self._supervised.get(name)) is not None
                ]
                return {"pid": os.getpid(), "roles": roles}
            case {"command": "stop", "role": str(name)}:
                supervised = self._known(name)
                was = supervised.state
                await supervised.stop()
                return {"was": was, "now": supervised.state}
            case {"command": "start", "role": str(name)}:
                return await self._start_on_request(self._known(name))
            case {"command": "restart", "role": str(name)}:
                supervised = self._known(name)
                await supervised.stop()
                return await self._start_on_request(supervised)
        raise control.Refused(f"`up` does not understand {request!r}.")

    async def _start_on_request(self, supervised: Supervised) -> control.Reply:
        if self._taking_down:
            raise control.Refused("`up` is stopping everything.")
        if supervised.state == "stopped":
            try:
                await self._start(supervised)
            except StartError as error:
                raise control.Refused(f"{error}\nIt is tried again until it works or you stop it.") from error
            return {"was": "stopped", "now": supervised.state}
        return {"was": supervised.state, "now": supervised.state}

    def _known(self, name: str) -> Supervised:
        try:
            return self._supervised[name]
        except KeyError:
            running = ", ".join(self._supervised) or "nothing yet"
            raise control.Refused(f"{name} is not part of what this `up` runs ({running}).") from None

    # Taking down

    async def _take_down(self) -> None:
        """Stop the roles, then PostgreSQL: they may still be writing. From now on nothing is started on request."""
        self._taking_down = True
        if not self._supervised:
            return
        self._progress.say("Stopping.")
        begun = time.monotonic()
        database = self._supervised.pop(POSTGRES.name, None)
        await asyncio.gather(*(supervised.stop() for supervised in self._supervised.values()))
        if database is not None:
            await database.stop()
        with contextlib.suppress(OSError):  # what it names is gone, and the next start sees that
            self._state.processes.unlink()
        self._progress.say(f"Everything has stopped after {time.monotonic() - begun:.1f} s.")


@contextlib.contextmanager
def _only_one(state: State) -> Iterator[None]:
    """Hold the lock of the state folder. Raises StartError, with the pid, if another `up` has it."""
    descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise StartError(
                f"Another `up` of {state.root} is running (process {pid}): stop it with Ctrl-C there or `kill {pid}`, "
                'or start a second system: make up ARGS="--state .seawall-2 --port-base 18000"'
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _first(error: BaseException) -> BaseException:
    """The first error in a tree of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _with_log(sentence: str, log: Path) -> str:
    lines = "\n".join(f"    {line}" for line in last_lines(log, 15)) or "    (empty)"
    return f"{sentence}. The end of {log}:\n{lines}"


def _other_base(base: int, roles: Iterable[Role]) -> int:
    """A port base at which everything is free now."""
    candidates = (number for number in range(18000, HIGHEST_PORT_BASE, 2000) if number != base)
    return next(
        (number for number in candidates if all(is_free(port) for port in wanted_ports(Ports(number), roles))),
        18000,
    )
