"""Child processes that never outlive their parent: how one is started, run to its end, and ended with its children."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ops.procfs import family

LOG_LIMIT = 10 * 1024 * 1024
"""Bytes after which a log is put aside as `<name>.1` when its process starts; one such is kept."""

POLL = 0.05
"""Seconds between two looks at a child. It bounds how late an exit is seen."""

_PR_SET_PDEATHSIG = 1
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Identity:
    """An operating system user to run as. Only root can take one that is not its own."""

    uid: int
    gid: int


@dataclass(frozen=True)
class StopStep:
    """A signal, and the seconds to wait for its effect before the next step (after the last one: SIGKILL to all)."""

    signal: signal.Signals
    patience: float


@dataclass(frozen=True)
class Command:
    """A program to run.

    `environment` is all that the child gets besides a few harmless variables of ours (`PATH`, locale, time zone): what
    the person who typed `make up` has exported never reaches a role by accident. `death_signal` is what the kernel
    sends to the child when its parent dies, however it dies.
    """

    argv: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    identity: Identity | None = None
    death_signal: signal.Signals = signal.SIGKILL
    stop_steps: tuple[StopStep, ...] = (StopStep(signal.SIGTERM, 5.0),)


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start the program in a session of its own, with output appended to its log. Raises OSError.

    Call it from a thread that lives as long as the child should: the kernel takes the end of the thread that forked
    for the death of the parent (prctl(2), PR_SET_PDEATHSIG).
    """
    _rotate(command.log)
    descriptor = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    identity = command.identity
    try:
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd=command.cwd or "/",
            env={**{name: os.environ[name] for name in _PASSED_ON if name in os.environ}, **command.environment},
            start_new_session=True,
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
            preexec_fn=_die_with_parent(command.death_signal),  # nothing but prctl and getppid
        )
    finally:
        os.close(descriptor)


async def exit_of(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end, then end whatever is left of its process group. Returns the code as Popen does."""
    while True:
        # WNOWAIT leaves the zombie: as long as it is there, nobody else can get its process group id.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            _kill_group(process.pid)
            return process.wait()
        await asyncio.sleep(POLL)


async def run_to_end(command: Command) -> int:
    """Run the program and return its exit code. When cancelled, it is ended first, with its children."""
    process = spawn(command)
    try:
        return await exit_of(process)
    finally:
        if process.poll() is None:
            end_now(process)


async def end(process: subprocess.Popen[bytes], command: Command, hurry: asyncio.Event) -> None:
    """Ask the process to stop, ever less politely, and return when it and its children are gone.

    It lasts at most the sum of the patience of all steps plus a moment; `hurry` skips to the last one.
    """
    for step in command.stop_steps:
        if hurry.is_set() or _gone(process):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, step.signal)
        deadline = time.monotonic() + step.patience
        while time.monotonic() < deadline and not hurry.is_set() and not _gone(process):
            await asyncio.sleep(POLL)
    if not _gone(process):
        end_now(process)


def end_now(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and everything it started."""
    for pid in family(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """A Popen return code in words."""
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def last_lines(log: Path, count: int) -> list[str]:
    """The last `count` lines of a log; fewer if it is shorter, none if it is not there. Reads only the end of it."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            block, data = 0, b""
            while block < size and data.count(b"\n") <= count:
                block = min(size, block + 65536)
                file.seek(size - block)
                data = file.read(block)
    except FileNotFoundError:
        return []
    return data.decode(errors="replace").splitlines()[-count:] if count else []


def follow(log: Path, idle: Callable[[], None]) -> Iterator[str]:
    """Lines that are appended from now on, for ever; calls `idle` when there is nothing new. Survives rotation."""
    position = log.stat().st_size if log.exists() else 0
    inode = log.stat().st_ino if log.exists() else 0
    rest = b""
    while True:
        with contextlib.suppress(FileNotFoundError):
            status = log.stat()
            if status.st_ino != inode or status.st_size < position:
                inode, position, rest = status.st_ino, 0, b""
            if status.st_size > position:
                with log.open("rb") as file:
                    file.seek(position)
                    data = rest + file.read()
                    position = file.tell()
                *lines, rest = data.split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
        idle()


def _gone(process: subprocess.Popen[bytes]) -> bool:
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(f"{log.name}.1"))


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """What the child does between fork and exec. After the change of user, which would undo it."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()
    number = int(death_signal)

    def set_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return set_signal
