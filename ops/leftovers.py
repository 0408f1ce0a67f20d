"""Processes that a killed `up` has left behind: noted while they run, ended before the next start.

The kernel already signals every child when its parent dies; this is for a child that was too stuck to act on it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

from ops.layout import POSTGRES, State
from ops.procfs import boot_id, process_stat, process_table
from ops.secrets import write_private

_PATIENCE = 10.0


def note_processes(state: State, pids: dict[str, int]) -> None:
    """Remember the process of each role; every one leads a session of its own."""
    stats = {name: process_stat(pid) for name, pid in pids.items()}
    sessions = {name: [stat.pid, stat.started] for name, stat in stats.items() if stat is not None}
    write_private(state.processes, {"boot": boot_id(), "sessions": sessions})


def end_leftovers(state: State) -> list[str]:
    """End what is left of the noted processes and return the names of those roles.

    PostgreSQL gets the time that its immediate shutdown takes before it is killed, too.
    """
    try:
        noted = json.loads(state.processes.read_text())
        sessions = {str(name): (int(pid), int(started)) for name, (pid, started) in noted["sessions"].items()}
        same_boot = noted["boot"] == boot_id()
    except (OSError, ValueError, TypeError, KeyError):
        return []
    if not same_boot:
        return []
    names = [name for name, session in sessions.items() if _members(*session)]
    for name in names:
        _signal(sessions[name], signal.SIGQUIT if name == POSTGRES.name else signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(_members(*sessions[name]) for name in names):
        if time.monotonic() > deadline:
            for name in names:
                _signal(sessions[name], signal.SIGKILL)
            break
        time.sleep(0.05)
    return names


def _members(leader: int, started: int) -> list[int]:
    """The living processes of a session, none if its leader's pid belongs to somebody else by now."""
    stat = process_stat(leader)
    if stat is not None and stat.started != started:
        return []
    return [stat.pid for stat in process_table() if stat.session == leader and not stat.zombie]


def _signal(session: tuple[int, int], number: signal.Signals) -> None:
    for pid in _members(*session):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
