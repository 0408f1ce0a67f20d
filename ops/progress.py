"""What `up` tells while it works: a table that moves on a terminal, plain lines in a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live


class Progress(Protocol):
    """A listener of the start: steps by name that begin and are done, and lines that may come at any time."""

    def begin(self, step: str) -> None:
        """The step is being worked on."""

    def done(self, step: str, note: str = "ready") -> None:
        """The step is finished; `note` says how."""

    def close(self) -> None:
        """The start is over: from now on there are only lines."""

    def say(self, text: str) -> None:
        """A line for the person."""

    def event(self, text: str) -> None:
        """A line about something that happened just now, with the time."""


def progress_for_stdout() -> Progress:
    """The right one for where the output goes."""
    return LiveProgress() if sys.stdout.isatty() else PlainProgress()


class PlainProgress:
    """One line for each step that is done."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def begin(self, step: str) -> None:
        pass

    def done(self, step: str, note: str = "ready") -> None:
        self.say(f"{time.monotonic() - self._start:6.1f} s  {step}: {note}")

    def close(self) -> None:
        pass

    def say(self, text: str) -> None:
        # The terminal may be gone (SIGHUP) while there are still processes to stop.
        with contextlib.suppress(OSError, ValueError):
            try:
                print(text, flush=True)
            except BrokenPipeError:  # such as `| head`; Python would try again at its end, and exit with 120
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def event(self, text: str) -> None:
        self.say(f"{datetime.now().astimezone():%H:%M:%S}  {text}")


class LiveProgress(PlainProgress):
    """All steps in one table with what each is doing and for how long."""

    def __init__(self) -> None:
        from rich.live import Live

        super().__init__()
        self._steps: dict[str, tuple[float, float | None, str]] = {}
        self._live: Live | None = Live(get_renderable=self._table, refresh_per_second=8, transient=False)
        self._live.start()

    def begin(self, step: str) -> None:
        self._steps.setdefault(step, (time.monotonic(), None, ""))

    def done(self, step: str, note: str = "ready") -> None:
        now = time.monotonic()
        begun = self._steps.get(step, (now, None, ""))[0]
        self._steps[step] = (begun, now, note)

    def close(self) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        if self._live is None:
            super().say(text)
        else:
            self._live.console.print(text, markup=False, highlight=False)

    def _table(self) -> RenderableType:
        from rich.spinner import Spinner
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for step, (begun, ended, note) in self._steps.items():
            mark: RenderableType = "[green]✓[/]" if ended else Spinner("dots")
            table.add_row(mark, step, note or "…", f"[dim]{(ended or now) - begun:.1f} s[/]")
        return table
