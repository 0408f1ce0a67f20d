"""`manage.py up` from outside: start it, ask it, wait for what it should do, and see what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops import control
from ops.layout import State
from ops.procfs import family, process_table
from tests.support import free_port_base

PROJECT = Path(__file__).resolve().parents[2]
MANAGE = (sys.executable, str(PROJECT / "manage.py"))
PATIENCE = 120.0
"""Seconds that anything may take on a loaded machine before a test gives up on it; a start may take twice that."""
TIMEOUT = 900
"""Seconds for one test: several starts, each within its patience."""


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without what could point a command at another system."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAWALL_", "DJANGO_"))}
    return {**kept, **more}


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Wait for the condition and return how many seconds it took."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - begun


def manage(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command of manage.py, to its end."""
    return subprocess.run(
        [*MANAGE, *words],
        env=environment or clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE * 2,
        check=False,
    )


def system_id(state: Path) -> str:
    """The name that a system has outside of its state folder."""
    return str(json.loads((state / "secrets.json").read_text())["system_id"])


def processes_of(state: Path) -> list[int]:
    """Every living process whose command line or environment names this state folder."""
    found = []
    marks = [str(state).encode()]
    if (state / "secrets.json").exists():
        marks.append(system_id(state).encode())
    for stat in process_table():
        if stat.zombie or stat.pid == os.getpid():
            continue
        with contextlib.suppress(OSError):
            text = b"".join(Path(f"/proc/{stat.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
            if any(mark in text for mark in marks):
                found.append(stat.pid)
    return found


def answers(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@dataclass
class Up:
    """A running `manage.py up`."""

    state: Path
    base: int
    process: subprocess.Popen[bytes]
    output_file: Path
    everything: set[int]

    @classmethod
    @contextlib.contextmanager
    def running(
        cls,
        state: Path,
        *options: str,
        base: int | None = None,
        command: Sequence[str] = MANAGE,
        uid: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> Iterator[Up]:
        """One that is killed at the end if the test has not stopped it."""
        base = base or free_port_base()
        output_file = state.with_name(f"{state.name}.output")
        with output_file.open("wb") as output:
            process = subprocess.Popen(
                [*command, "up", "--state", str(state), "--port-base", str(base), *options],
                cwd="/",
                env=environment or clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
                preexec_fn=_heed_hangup,
            )
        up = cls(state, base, process, output_file, set())
        try:
            yield up
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
            if process.poll() is None:
                process.kill()
                process.wait()

    @property
    def output(self) -> str:
        return self.output_file.read_text()

    def until_ready(self) -> float:
        """Wait until it says that it runs."""

        def says_so() -> bool:
            assert self.process.poll() is None, f"`up` has ended:\n{self.output}"
            return "Seawall is running." in self.output

        seconds = until(says_so, f"`up` becomes ready; it said:\n{self.output}", PATIENCE * 2)
        self.everything = set(family(self.process.pid))
        return seconds

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to this system."""
        return manage(*words, "--state", str(self.state))

    def status(self) -> dict[str, dict[str, object]]:
        """What `up` replies to `status`, by role; asked as the command asks, without the start of a Python for each."""
        reply = control.ask(State.at(self.state), {"command": "status"}, seconds=PATIENCE)
        return {role["role"]: role for role in reply["roles"]}

    def pid(self, role: str) -> int:
        pid = self.status()[role]["pid"]
        assert isinstance(pid, int)
        return pid

    def url(self, offset: int, path: str) -> str:
        return f"http://127.0.0.1:{self.base + offset}{path}"

    def left(self) -> list[int]:
        """The processes that are still there: those of the start that live, and whatever names the state folder."""
        living = {stat.pid for stat in process_table() if not stat.zombie}
        return sorted((self.everything & living) | set(processes_of(self.state)))

    def stop(self, number: signal.Signals = signal.SIGINT) -> float:
        """Ask it to stop, see that nothing is left, and return the seconds until it had ended."""
        self.everything |= set(family(self.process.pid)) if self.process.poll() is None else set()
        begun = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        seconds = time.monotonic() - begun
        # What was killed may take a moment to go, as may all of it when nobody is there to wait for it.
        until(lambda: not self.left(), "nothing is left")
        return seconds


@dataclass(frozen=True)
class FirstStart:
    """What the first start on an empty folder came to."""

    state: Path
    output: str
    ready_seconds: float
    stop_seconds: float
    exit_status: int


def first_start(state: Path) -> FirstStart:
    """Start everything on an empty folder, wait until it is ready, stop it as Ctrl-C does."""
    with Up.running(state) as up:
        ready_seconds = up.until_ready()
        stop_seconds = up.stop(signal.SIGINT)
        return FirstStart(state, up.output, ready_seconds, stop_seconds, up.process.returncode)


def _heed_hangup() -> None:
    """Whoever runs the tests may have been started with nohup, and `up` would inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
