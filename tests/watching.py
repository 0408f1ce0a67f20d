"""What is seen of processes while something happens to them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ops.procfs import memory_pss


def memory_of(processes: Sequence[int]) -> float:
    """The memory of processes together in MiB, what they share counted once (PSS)."""
    return sum(memory_pss(process) or 0 for process in processes) / 1024**2


class Watch:
    """Calls a function again and again in a thread, while the block runs, and keeps what it returned."""

    def __init__(self, function: Any, every: float) -> None:
        self.seen: list[Any] = []
        self._function = function
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.is_set():
            self.seen.append(self._function())
            self._over.wait(self._every)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
