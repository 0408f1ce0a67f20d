"""Load: as many reads of one address as go through in some seconds, by wrk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.images.processor import cpu_ms

REPORT = Path(__file__).with_name("report.lua")
CONNECTIONS = 64
THREADS = 2


@dataclass(frozen=True)
class Load:
    """What went through. `cpu_ms` is what the server took of the processors meanwhile, user and system time."""

    reads: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    cpu_ms: float

    @property
    def per_second(self) -> float:
        """Reads a second."""
        return self.reads / self.seconds

    @property
    def cpu_us_per_read(self) -> float:
        """What one read costs the server, in microseconds of a processor."""
        return self.cpu_ms * 1000 / self.reads


class LoadError(Exception):
    """The reads did not all succeed, so that their number means nothing."""


def find_wrk() -> str | None:
    """The load generator; None where the package `wrk` is not installed."""
    return shutil.which("wrk")


def load(
    url: str, *, seconds: int, connections: int = CONNECTIONS, servers: Sequence[int] = (), core: int | None = None
) -> Load:
    """Reads `url` over kept connections, one request after the other on each.

    Args:
        url: what is read.
        seconds: for how long.
        connections: how many at once.
        servers: processes, whose CPU is measured with that of their children.
        core: the only processor that the readers use; None for any.

    Raises:
        LoadError: a read failed.
    """
    before = cpu_ms(servers)
    threads = 1 if core is not None else min(THREADS, connections)
    finished = subprocess.run(
        [
            find_wrk() or "wrk",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "-s",
            str(REPORT),
            url,
        ],
        preexec_fn=None if core is None else partial(os.sched_setaffinity, 0, {core}),
        check=True,
        capture_output=True,
        text=True,
    )
    cpu = cpu_ms(servers) - before
    said = json.loads(finished.stdout.splitlines()[-1])
    if said["failures"] or not said["requests"]:
        raise LoadError(f"of {said['requests']} reads of {url}, {said['failures']} failed:\n{finished.stdout}")
    return Load(
        reads=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50_ms=said["p50"] / 1000,
        p99_ms=said["p99"] / 1000,
        failures=said["failures"],
        cpu_ms=cpu,
    )
