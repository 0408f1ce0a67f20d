"""One process under supervision, whatever goes wrong around it: plain shells in the place of roles."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

from ops.layout import FILES, GATEWAY, METRICS, Ports, Role, State
from ops.nginx import files_command, metrics_command
from ops.postgres import Binaries, Postgres
from ops.processes import Command, StopStep
from ops.procfs import process_stat
from ops.supervised import Supervised
from ops.supervisor import ROLES_STOP_SECONDS
from tests.ops.running import PATIENCE

SLEEPER = "exec sleep 3600"
DEAF = "trap '' TERM; : >deaf; while :; do sleep 1; done"
HOUR = 3600.0


class Shell:
    """A supervised shell in a folder: its processes so far, and what was said about it."""

    def __init__(
        self,
        folder: Path,
        script: str,
        *,
        patience: float = PATIENCE,
        spawned: Callable[[], None] = lambda: None,
        role: Role = GATEWAY,
        companion: Supervised | None = None,
    ) -> None:
        self.pids: list[int] = []
        self.said: list[str] = []
        self.hurry = asyncio.Event()
        self._spawned = spawned
        self._deaf = folder / "deaf" if script == DEAF else None
        command = Command(
            ("/bin/sh", "-c", script),
            log=folder / "log",
            cwd=folder,
            stop_steps=(StopStep(signal.SIGTERM, patience),),
        )
        self.supervised = Supervised(
            role,
            port=1,
            management_port=2,
            command=lambda: command,
            is_ready=self._is_ready,
            is_alive=self._is_ready,
            spawned=self._note,
            say=self.said.append,
            hurry=self.hurry,
            companion=companion,
        )

    async def start(self) -> int:
        """Start it; its process once it is ready."""
        self.supervised.start()
        async with asyncio.timeout(PATIENCE):
            await self.supervised.ready.wait()
        return self.pids[-1]

    async def stop(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.supervised.stop()

    def _note(self) -> None:
        assert self.supervised.pid is not None
        self.pids.append(self.supervised.pid)
        self._spawned()

    async def _is_ready(self, pid: int) -> bool:
        return self._deaf is None or self._deaf.exists()


def test_a_process_that_cannot_be_noted_is_kept_and_stopped_like_any_other(tmp_path: Path) -> None:
    def disk_full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def scene() -> None:
        shell = Shell(tmp_path, SLEEPER, spawned=disk_full)
        pid = await shell.start()
        assert shell.pids == [pid]
        assert (shell.supervised.pid, shell.supervised.restarts, shell.supervised.last_exit) == (pid, 0, None)
        sentence = f"gateway runs as process {pid}, which could not be noted for the next start: [Errno 28]"
        assert [said.partition(" No ")[0] for said in shell.said] == [sentence]
        await shell.stop()
        assert process_stat(pid) is None

    asyncio.run(scene())


def test_no_error_after_the_start_of_a_process_leaves_it_behind(tmp_path: Path) -> None:
    def unforeseen() -> None:
        raise RuntimeError("nobody has thought of this")

    async def scene() -> None:
        shell = Shell(tmp_path, SLEEPER, spawned=unforeseen)
        shell.supervised.start()
        async with asyncio.timeout(PATIENCE):
            while not shell.pids or shell.supervised.state != "stopped":
                await asyncio.sleep(0.01)
        assert [process_stat(pid) for pid in shell.pids] == [None]
        await shell.stop()

    asyncio.run(scene())


def test_a_role_started_again_between_two_stops_can_still_be_stopped(tmp_path: Path) -> None:
    async def scene() -> None:
        shell = Shell(tmp_path, SLEEPER)
        first = await shell.start()

        async def restart() -> None:
            await shell.supervised.stop()
            shell.supervised.start()

        await asyncio.gather(restart(), shell.stop())
        second = await shell.start()
        assert shell.pids == [first, second]
        await shell.stop()
        assert shell.supervised.state == "stopped"
        assert process_stat(second) is None

    asyncio.run(scene())


def test_a_process_that_does_not_stop_when_asked_is_killed_after_its_patience(tmp_path: Path) -> None:
    async def scene() -> None:
        shell = Shell(tmp_path, DEAF, patience=0.1)
        pid = await shell.start()
        await shell.stop()
        assert process_stat(pid) is None

    asyncio.run(scene())


def test_hurry_ends_patience(tmp_path: Path) -> None:
    async def scene() -> None:
        shell = Shell(tmp_path, DEAF, patience=HOUR)
        pid = await shell.start()
        stopping = asyncio.create_task(shell.stop())
        await asyncio.sleep(0.2)
        assert not stopping.done()
        shell.hurry.set()
        await stopping
        assert process_stat(pid) is None

    asyncio.run(scene())


def test_a_companion_starts_with_the_role_falls_alone_and_stops_after_it(tmp_path: Path) -> None:
    async def scene() -> None:
        companion = Shell(tmp_path, SLEEPER, role=METRICS)
        shell = Shell(tmp_path, SLEEPER, companion=companion.supervised)
        pid = await shell.start()
        async with asyncio.timeout(PATIENCE):
            await shell.supervised.until_ready()
        first = companion.pids[-1]
        assert set(shell.supervised.pids.values()) == {pid, first}

        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while companion.pids[-1] == first or not shell.supervised.status()["ready"]:
                await asyncio.sleep(0.01)
        assert (shell.pids, shell.supervised.restarts) == ([pid], 0)
        assert any("fell (signal SIGKILL)" in said for said in companion.said)

        await shell.stop()
        assert [process_stat(each) for each in (pid, *companion.pids)] == [None] * 3
        assert companion.supervised.state == "stopped"

    asyncio.run(scene())


def test_patience_with_everything_together_is_less_than_the_ten_seconds_of_a_stop(tmp_path: Path) -> None:
    """Roles stop side by side, then PostgreSQL: on a busy machine this sum is what bounds a stop, not a stopwatch."""
    state = State.at(tmp_path)
    state.create()
    postgres = Postgres(tmp_path, port=1, password="unused", binaries=Binaries.embedded(), log=state.log(FILES))

    def patience(command: Command) -> float:
        return sum(step.patience for step in command.stop_steps)

    files = patience(files_command(state, Ports())) + patience(metrics_command(state, Ports()))
    roles = max(ROLES_STOP_SECONDS, files)
    assert roles + patience(postgres.command()) < 8
