"""How far long work is: on a terminal in one line that changes, elsewhere in a line now and then."""

from __future__ import annotations

import threading
import time
from typing import TextIO

_STEP_ON_TERMINAL, _STEP = 0.2, 30.0  # seconds between two notes


class Progress:
    """Writes notes to a stream; several threads may have something to say."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._step = _STEP_ON_TERMINAL if self._terminal else _STEP
        self._next = time.monotonic() + self._step
        self._shown = False
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Says it, if it is time for it."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + self._step
            self._stream.write(f"\r\x1b[K{text}" if self._terminal else f"{text}\n")
            self._stream.flush()
            self._shown = self._terminal

    def clear(self) -> None:
        """Makes room for a line of another kind."""
        with self._lock:
            if self._shown:
                self._stream.write("\r\x1b[K")
                self._stream.flush()
                self._shown = False


def size(count: int) -> str:
    """Bytes as people read them: 512 bytes, 3.4 MB."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} bytes"


def age(seconds: float) -> str:
    """A time as people read it: 40 s, 12 min, 3 h, 9 d."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
