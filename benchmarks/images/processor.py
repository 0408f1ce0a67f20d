"""What processes have taken of the processors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ops.procfs import family

_TICK = 1000 / os.sysconf("SC_CLK_TCK")  # ms


def cpu_ms(processes: Iterable[int]) -> float:
    """User and system time of the processes and their children so far, in ms; those that have ended are left out."""
    return sum(_of(pid) for process in processes for pid in family(process))


def keep_on(core: int, processes: Iterable[int]) -> None:
    """Lets the processes and their children use one processor only."""
    for process in processes:
        for pid in family(process):
            os.sched_setaffinity(pid, {core})


def _of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK
