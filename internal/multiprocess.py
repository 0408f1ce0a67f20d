"""Prometheus metrics of several processes, added up from files in PROMETHEUS_MULTIPROC_DIR.

Files carry the number of a worker and not its process id, so that replaced workers do not leave ever more files behind.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_identity = "master"
_started = False


def start(folder: Path) -> None:
    """Empties the folder of what an earlier start left, and makes this process and its children write there.

    PROMETHEUS_MULTIPROC_DIR must have been set before Python started: the client library looks at it on import.
    """
    global _started
    if _started:  # a reload of gunicorn's configuration: other processes write there now
        return
    _started = True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.db"):
            leftover.unlink()
    except OSError as error:
        sys.exit(f"PROMETHEUS_MULTIPROC_DIR: {folder} cannot be used: {error.strerror}; name a writable folder")
    values.ValueClass = values.MultiProcessValue(lambda: _identity)  # type: ignore[no-untyped-call]


def identify(identity: str) -> None:
    """Names this process; metric values set from now on go to files of that name."""
    global _identity
    _identity = identity


def forget(identity: str) -> None:
    """Removes the live gauges of a process that has ended; its counters stay."""
    mark_process_dead(identity)  # type: ignore[no-untyped-call]


def registry() -> CollectorRegistry:
    """A registry that adds up the files of all processes."""
    combined = CollectorRegistry()
    MultiProcessCollector(combined, path=os.environ["PROMETHEUS_MULTIPROC_DIR"])  # type: ignore[no-untyped-call]
    return combined
