"""The bare server beside the gateway."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.images.servers import Server, running
from tests.files.serving import free_ports

WORKERS, THREADS = 2, 16  # as config/gunicorn.conf.py has them for the gateway


@contextlib.contextmanager
def bare_view(answers: dict[str, Any]) -> Iterator[Server]:
    """Gunicorn's own worker of threads with a view that answers with these documents, by path."""
    [port] = free_ports(1)
    command = [sys.executable, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", "gthread", "--keep-alive", "75"]
    command += ["-w", str(WORKERS), "--threads", str(THREADS), "--worker-tmp-dir", "/dev/shm"]  # noqa: S108
    command += ["--preload", "--no-control-socket", "--log-level", "warning", "benchmarks.gateway.bare:application"]
    environment = {"PATH": os.environ["PATH"], "BARE_ANSWERS": json.dumps(answers)}
    with running(command, port, environment=environment) as process:
        yield Server(port, (process.pid,))
