"""A role of the running system that a test runs itself: with another environment, or to be killed time and again.

The supervisor is told to stop its own one and gets it back afterwards. Program, settings and ports stay the same.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from subprocess import Popen

from ops.layout import ROLES, Ports, State
from ops.processes import Command, end_now, spawn
from ops.procfs import process_table
from ops.secrets import server_environment
from tests.running import PROJECT, ask, environment_of, log_of, manage, management_url, port_of, state, until, url

START = 60.0  # seconds until a role is ready, on a machine that does other things, too


class StandIn:
    """The processes of one role under gunicorn, `environment` added to what `up` gives it."""

    def __init__(self, role: str, environment: Mapping[str, str]) -> None:
        self.role = role
        layout = State.at(state())
        ports = Ports(port_of(url("gateway")))
        self._command = Command(
            (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"),
            log=log_of(role),
            environment=environment_of(role) | server_environment(layout, ROLES[role], ports) | dict(environment),
            cwd=PROJECT,
        )
        self._process: Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `until_ready` waits until it serves. Call it from the main thread: it ends with its starter."""
        self._process = spawn(self._command)

    def until_ready(self) -> None:
        """Waits until it is ready."""
        until(lambda: self.answers("/readyz") == 200, f"{self.role} is ready", START)

    def answers(self, path: str) -> int:
        """The status with which the management port answers; 0 if there is no answer."""
        try:
            return ask("GET", management_url(self.role) + path, seconds=5).status
        except Exception:  # noqa: BLE001 - whatever keeps the answer away
            return 0

    def workers(self) -> list[int]:
        """The worker processes. The first child of gunicorn's master is the one that answers on the management port."""
        assert self._process is not None
        children = [stat for stat in process_table() if stat.parent == self._process.pid and not stat.zombie]
        return [stat.pid for stat in sorted(children, key=lambda stat: (stat.started, stat.pid))[1:]]

    def kill(self) -> None:
        """SIGKILL to master, workers and all, at the same moment."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Ends whatever is left of it."""
        if self._process is not None:
            end_now(self._process)
            self._process.wait()


@contextmanager
def stood_in(role: str, **environment: str) -> Iterator[StandIn]:
    """The block runs with a stand-in for the role, ready on entry; afterwards the supervisor has its own one again."""
    finished = manage("stop", role)
    assert finished.returncode == 0, finished.stderr
    stand_in = StandIn(role, environment)
    try:
        stand_in.start()
        stand_in.until_ready()
        yield stand_in
    finally:
        stand_in.end()
        finished = manage("start", role)
    assert finished.returncode == 0, finished.stderr
