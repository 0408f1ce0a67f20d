"""A running system from its inside: its processes, and one more in images' settings (benchmarks.images.inside)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import System

PROJECT = Path(__file__).resolve().parents[2]


class Workbench:
    """One task at a time, to its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, task: str, **details: Any) -> dict[str, Any]:
        """Has the task done; what it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": task, **details}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def seconds(self, task: str, **details: Any) -> float:
        """Has the task done; how long it took, without the way there and back."""
        return float(self.do(task, **details)["seconds"])


def pids(system: System) -> dict[str, int]:
    """The first process of each role of a running system."""
    finished = subprocess.run(
        [sys.executable, "manage.py", "status", "--json"],
        cwd=PROJECT,
        env=os.environ | {"SEAWALL_STATE": str(system.state)},
        check=True,
        capture_output=True,
        text=True,
    )
    return {role["role"]: role["pid"] for role in json.loads(finished.stdout)["roles"]}


@contextlib.contextmanager
def workbench(system: System) -> Iterator[Workbench]:
    """One for the store and the database of a running system."""
    own: dict[str, str] = json.loads((system.state / "env" / "images.json").read_text())
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.images.inside"],
        cwd=PROJECT,
        env=os.environ | own | {"DJANGO_SETTINGS_MODULE": "config.settings.images", "LOG_LEVEL": "WARNING"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Workbench(process)
        finally:
            process.terminate()
