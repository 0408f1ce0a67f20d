"""A running system with a thousand people in it, each with a profile image, and a token of each that holds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.images import pictures
from benchmarks.images.workbench import Workbench, pids
from ops.procfs import family
from tests.support import System, running_system

PROJECT = Path(__file__).resolve().parents[2]
TOKEN_SECONDS = 300.0  # after which tokens are made anew; they last twice as long
MORE_IMAGES = {0: 30, 1: 9}  # of every ten people one has so many images, and one so many; the others have one


@dataclass
class Crowd:
    """The system and its people."""

    system: System
    folder: Path
    auth: Workbench
    images: Workbench
    ids: list[str]
    _tokens: list[str] = field(default_factory=list, repr=False)
    _signed_in: float = float("-inf")

    @property
    def gateway(self) -> str:
        """Where the gateway is."""
        return f"http://127.0.0.1:{self.system.port_base}"

    @property
    def management(self) -> str:
        """Where the gateway's management port is."""
        return f"http://127.0.0.1:{self.system.port_base + 1000}"

    def role(self, number: int) -> str:
        """Where the role of that number is, in the order of ports."""
        return f"http://127.0.0.1:{self.system.port_base + number}"

    def tokens(self) -> list[str]:
        """An access token of each person, good for some minutes."""
        if time.monotonic() - self._signed_in > TOKEN_SECONDS:
            self._tokens = self.sessions(self.ids)
            self._signed_in = time.monotonic()
        return self._tokens

    def sessions(self, ids: list[str]) -> list[str]:
        """A new session of each of these people; the access tokens."""
        tokens: list[str] = self.auth.do("sessions", ids=ids)["tokens"]
        return tokens

    def processes(self) -> dict[str, list[int]]:
        """The first process of each role that takes part in an answer, and of PostgreSQL."""
        roles = pids(self.system)
        found = {role: [roles[role]] for role in ("gateway", "auth", "images")}
        return found | {"PostgreSQL": postgres_of(self.system)}


def postgres_of(system: System) -> list[int]:
    """PostgreSQL's first process, by the file that it keeps its pid in."""
    for pid in family(system.process.pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[0].endswith(b"/postgres") and b"-D" in command:
                return [pid]
    return []


@contextlib.contextmanager
def crowd(people: int) -> Iterator[Crowd]:
    """A system of its own with that many people, gone on exit."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-bench-")))
        system = stack.enter_context(running_system(folder / "system"))
        auth = stack.enter_context(bench_of(system, "auth"))
        images = stack.enter_context(bench_of(system, "images"))
        ids = auth.do("accounts", count=people)["ids"]
        picture = folder / "picture"
        picture.write_bytes(pictures.tiny())
        owners = {each: MORE_IMAGES.get(number % 10, 1) for number, each in enumerate(ids)}
        images.do("fill", path=str(picture), owners=owners)
        made = Crowd(system, folder, auth, images, ids)
        random.shuffle(made.ids)
        yield made


def environment_of(system: System, role: str) -> dict[str, str]:
    """What a role of the system was started with."""
    own: dict[str, str] = json.loads((system.state / "env" / f"{role}.json").read_text())
    return os.environ | own | {"DJANGO_SETTINGS_MODULE": f"config.settings.{role}"}


@contextlib.contextmanager
def bench_of(system: System, role: str) -> Iterator[Workbench]:
    """A process in the role's settings (benchmarks.gateway.inside)."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gateway.inside"],
        cwd=PROJECT,
        env=environment_of(system, role) | {"LOG_LEVEL": "WARNING"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Workbench(process)
        finally:
            process.terminate()
