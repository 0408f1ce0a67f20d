"""Gunicorn's worker of threads, and for how long each request waited there for a thread.

A caller's deadline runs while a request waits, so the time counts (internal.middleware).
"""

from __future__ import annotations

import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from internal import context


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Notes when a connection began to wait, and says so to the thread that takes it."""

    def enqueue_req(self, conn: Any) -> None:
        """A connection has something to read, or is new."""
        conn.waiting_since = time.monotonic()
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """A thread has come to it."""
        context.bind_wait(time.monotonic() - conn.waiting_since)
        return super().handle(conn)
