"""One role under supervision: started, watched, restarted when it falls, stopped when asked."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypedDict

from ops.errors import OperatorError
from ops.layout import Role
from ops.processes import Command, describe_exit, end, exit_of, spawn
from ops.procfs import family, memory_pss, process_table

State = Literal["stopped", "starting", "ready", "not ready", "stopping", "waiting"]

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STABLE_SECONDS = 60.0
"""A role that ran this long before it fell is restarted after the first delay again."""

STARTING_INTERVAL = 0.1
WATCHING_INTERVAL = 2.0
LIVENESS_FAILURES = 3
"""Failed looks at /livez in a row, 2 s apart, after which the process is taken for hung."""


class RoleStatus(TypedDict):
    """What `status` shows of a role. Times are Unix seconds; `memory` is in bytes and None where it cannot be read."""

    role: str
    state: State
    pid: int | None
    port: int
    management_port: int | None
    since: float
    restarts: int
    last_exit: str | None
    ready: bool
    memory: int | None


class Supervised:
    """The process of one role and the tasks that keep it as it is wanted.

    `command` is asked anew at each start and may raise OSError or OperatorError. `is_ready` and `is_alive` look at the
    process; neither raises. `spawned` is called after each start of a process and may raise OSError, which costs the
    process nothing. `say` gets a sentence whenever that, or something else that nobody asked for, happens; falls are
    told once the role was ready for the first time. `hurry` ends patience. `companion` belongs to the role: it is
    started with it, stopped after it, restarted alone when it falls alone, and the role's status covers both.
    """

    def __init__(
        self,
        role: Role,
        *,
        port: int,
        management_port: int | None,
        command: Callable[[], Command],
        is_ready: Callable[[int], Awaitable[bool]],
        is_alive: Callable[[int], Awaitable[bool]],
        spawned: Callable[[], None],
        say: Callable[[str], None],
        hurry: asyncio.Event,
        companion: Supervised | None = None,
    ) -> None:
        self.role = role
        self.port = port
        self.management_port = management_port
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.restarts = 0
        self.last_exit: str | None = None
        self._command = command
        self._is_ready = is_ready
        self._is_alive = is_alive
        self._spawned = spawned
        self._say = say
        self._hurry = hurry
        self._companion = companion
        self._was_ready = False
        self._state: State = "stopped"
        self._since = time.time()
        self._process: subprocess.Popen[bytes] | None = None
        self._running: Command | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault: str | None = None

    @property
    def state(self) -> State:
        """What the role is doing. `waiting`: it fell and will be started again."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The process, None when there is none now."""
        return self._process.pid if self._process else None

    @property
    def pids(self) -> dict[str, int]:
        """The processes that there are now, by the name of what they are."""
        own = {self.role.name: self.pid} if self.pid is not None else {}
        return own | (self._companion.pids if self._companion else {})

    async def until_ready(self) -> None:
        """Wait until the role is ready, with its companion."""
        await self.ready.wait()
        if self._companion is not None:
            await self._companion.until_ready()

    def start(self) -> None:
        """Have it run from now on. Returns at once; `until_ready` tells when it serves."""
        if self._task is None or self._task.done():
            self.ended.clear()
            self._task = asyncio.create_task(self._keep(), name=f"keep {self.role.name}")

    async def stop(self) -> None:
        """Have it not run from now on; returns when its processes are gone."""
        task = self._task
        if task is not None:
            if not task.cancelling():  # a second request would cut the farewell short
                task.cancel()
            await asyncio.wait([task])
            if self._task is task:  # it may have been started again before we got our turn
                self._task = None

    def status(self) -> RoleStatus:
        """A picture of now."""
        table = process_table() if self.pids else []
        parts = [memory_pss(pid) for leader in self.pids.values() for pid in family(leader, table)]
        known = [part for part in parts if part is not None]
        state = self._state
        if state == "ready" and self._companion is not None and self._companion.state != "ready":
            state = "not ready"
        return RoleStatus(
            role=self.role.name,
            state=state,
            pid=self.pid,
            port=self.port,
            management_port=self.management_port,
            since=self._since,
            restarts=self.restarts,
            last_exit=self.last_exit,
            ready=state == "ready",
            memory=sum(known) if known else None,
        )

    def _become(self, state: State) -> None:
        if state != self._state:
            self._state, self._since = state, time.time()
        if state == "ready":
            self._was_ready = True
            self.ready.set()
        else:
            self.ready.clear()

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        if self._companion is not None:
            self._companion.start()
        try:
            while True:
                begun = time.monotonic()
                self.last_exit = await self._run_once()
                self.ended.set()
                if time.monotonic() - begun > STABLE_SECONDS:
                    delay = FIRST_DELAY
                self._become("waiting")
                if self._was_ready:
                    self._say(f"{self.role.name} fell ({self.last_exit}); it starts again in {delay:g} s")
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY)
                self.restarts += 1
        finally:
            if self._companion is not None:
                await self._companion.stop()
            self._become("stopped")

    async def _run_once(self) -> str:
        """Start the process and return, in words, how it ended. When cancelled, it is stopped first."""
        self._become("starting")
        self._fault = None
        try:
            self._running = self._command()
            self._process = spawn(self._running)
        except (OSError, OperatorError) as error:
            return str(error)
        watcher: asyncio.Task[None] | None = None
        try:  # from here on there is a process, which must not be forgotten whatever happens
            self._tell_of(self._process)
            watcher = asyncio.create_task(self._watch(self._process, self._running))
            code = await exit_of(self._process)
            return self._fault or describe_exit(code)
        finally:
            if watcher is not None:
                watcher.cancel()
            if self._process.returncode is None:
                self._become("stopping")
                await end(self._process, self._running, self._hurry)
                await exit_of(self._process)
            self._process = None

    def _tell_of(self, process: subprocess.Popen[bytes]) -> None:
        try:
            self._spawned()
        except OSError as error:
            self._say(
                f"{self.role.name} runs as process {process.pid}, which could not be noted for the next start: {error}"
            )

    async def _watch(self, process: subprocess.Popen[bytes], command: Command) -> None:
        """Keep `state` true, and end a process that was ready once and hangs now."""
        failures = 0
        was_ready = False
        while True:
            is_ready = await self._is_ready(process.pid)
            if is_ready and not was_ready and self.restarts:
                self._say(f"{self.role.name} is ready again")
            was_ready = was_ready or is_ready
            self._become("ready" if is_ready else "not ready" if was_ready else "starting")
            if was_ready:
                failures = 0 if is_ready or await self._is_alive(process.pid) else failures + 1
            if failures >= LIVENESS_FAILURES:
                self._fault = f"no answer at /livez {failures} times in a row"
                await end(process, command, self._hurry)
                return
            await asyncio.sleep(WATCHING_INTERVAL if was_ready else STARTING_INTERVAL)
