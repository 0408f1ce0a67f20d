"""What Linux tells about running processes (proc(5)): kinship, age and memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessStat:
    """One line of the process table. `started` is in clock ticks since boot: with it the pid is unique."""

    pid: int
    parent: int
    session: int
    started: int
    zombie: bool


def boot_id() -> str:
    """A name for this boot of the machine: pids recorded under another one mean nothing. Empty if unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_stat(pid: int) -> ProcessStat | None:
    """The process, or None when there is none of that pid."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets and may hold anything, brackets included.
    fields = text.rpartition(")")[2].split()
    return ProcessStat(pid, int(fields[1]), int(fields[3]), int(fields[19]), fields[0] in "ZX")


def process_table() -> list[ProcessStat]:
    """Every process that exists now."""
    stats = (process_stat(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [stat for stat in stats if stat is not None]


def family(pid: int, table: list[ProcessStat] | None = None) -> list[int]:
    """The pid, its descendants, and whoever else lives in its session; the living ones only."""
    table = process_table() if table is None else table
    members = {pid}
    grown = True
    while grown:
        found = {stat.pid for stat in table if stat.parent in members or stat.session == pid}
        grown = not found <= members
        members |= found
    return sorted(stat.pid for stat in table if stat.pid in members and not stat.zombie)


def memory_pss(pid: int) -> int | None:
    """Proportional set size of one process in bytes, None if we may not know it.

    A page that n processes share counts 1/n in each, so that a sum over processes is what they really take.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None
