"""Load: requests of people in random order, as many as go through in some seconds, by wrk."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.images.load import LoadError, find_wrk
from ops.procfs import family

SCRIPT = Path(__file__).with_name("person.lua")
THREADS = 2
GENERATOR = "load generator"
_TICK = 1000 / os.sysconf("SC_CLK_TCK")  # ms


@dataclass(frozen=True)
class Load:
    """What went through. `cpu_ms` is what one request took of the processors, user and system time, by who took it."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    others: int  # answers other than 200
    failures: int  # requests without an answer
    cpu_ms: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers of 200 a second: whoever is refused is not served."""
        return (self.requests - self.others) / self.seconds

    @property
    def failed_percent(self) -> float:
        """Requests that were not answered with 200, in percent of all."""
        return 100 * (self.others + self.failures) / (self.requests + self.failures)


def load(
    url: str,
    tokens: Sequence[str],
    *,
    seconds: int,
    connections: int,
    headers: Mapping[str, str] | None = None,
    changes: float = 0.0,
    processes: Mapping[str, Sequence[int]] | None = None,
) -> Load:
    """Asks for `url` over kept connections, one request after the other on each, every one of a random person.

    Args:
        url: what is asked for.
        tokens: an access token of each person.
        seconds: for how long.
        connections: how many at once.
        headers: more headers of each request.
        changes: which part of the requests changes the person's name instead.
        processes: whose CPU is measured, with that of their children; beside it that of the load generator.

    Raises:
        LoadError: nothing was answered.
    """
    with tempfile.NamedTemporaryFile("w", prefix="seawall-bench-") as file:
        file.write("\n".join(tokens) + "\n")
        file.flush()
        before = {name: cpu_ms(pids) for name, pids in (processes or {}).items()}
        own = _children()
        finished = subprocess.run(
            [
                find_wrk() or "wrk",
                f"-t{min(THREADS, connections)}",
                f"-c{connections}",
                f"-d{seconds}s",
                *("--timeout", "10s", "-s", str(SCRIPT), url),
            ],
            env=os.environ
            | {
                "TOKENS": file.name,
                "CHANGES": str(changes),
                "HEADERS": "\n".join(f"{name}: {value}" for name, value in (headers or {}).items()),
            },
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=give_way,
        )
        spent = {name: cpu_ms(pids) - before[name] for name, pids in (processes or {}).items()}
        spent[GENERATOR] = (_children() - own) * 1000
    said = json.loads(finished.stdout.splitlines()[-1])
    if not said["requests"]:
        raise LoadError(f"no request to {url} was answered, {said['failures']} failed:\n{finished.stdout}")
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        p50_ms=said["p50"] / 1000,
        p99_ms=said["p99"] / 1000,
        others=said["others"],
        failures=said["failures"],
        cpu_ms={name: cpu / said["requests"] for name, cpu in spent.items()},
    )


def give_way() -> None:
    """Lets this process not interrupt another one on its processor when it wakes up, as clients elsewhere would not.

    Each answer wakes the generator: it would take the processor from the server in the middle of the next one.
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def cpu_ms(processes: Iterable[int]) -> float:
    """User and system time of the processes and their children so far, in ms, with children that have ended."""
    return sum(_of(pid) for process in processes for pid in family(process))


def _of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * _TICK


def _children() -> float:
    """CPU seconds of children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
