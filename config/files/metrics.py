#!/usr/bin/env python3
"""Metrics of `files` for Prometheus: counts the lines that nginx writes for its answers, and frees them on the disk.

nginx appends a line for each answer to `requests.log`; this process reads them, adds them to what `metrics.prom` beside
it says, and nginx serves that file. It needs the standard library alone and runs beside nginx, as the same user:

    FILES_METRICS=/metrics FILES_PORT=8003 python3 -I -S metrics.py

How far the log has been read stands in `metrics.prom` itself, which is replaced in one step: whenever this process is
killed, the next one goes on where the numbers end. SIGTERM and SIGINT end it after one more look.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

LOOK_SECONDS = 2.0
"""Time between two looks at the log."""

IDLE_SECONDS = 5.0
"""Time after which the metrics are written anew though nothing was asked, and connections are looked at."""

CHUNK = 1 << 20
"""Bytes that are read and counted at once."""

CHUNKS = 16
"""Chunks that are counted before the metrics are written, and the space is freed, in between."""

WORTH_FREEING = 1 << 16
"""Bytes of the log that may lie on the disk though they are counted."""

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram, in seconds. nginx measures in milliseconds."""

FAMILIES = (
    ("files_requests_total", "counter", "Answers by status; 499 is a visitor who went away."),
    ("files_request_duration_seconds", "histogram", "From a request's first byte until its answer was handed over."),
    ("files_response_body_bytes_total", "counter", "Bytes of bodies sent."),
    ("files_connections_opened_total", "counter", "Connections on which something was asked."),
    ("files_open_connections", "gauge", "Connections that nginx has accepted, idle ones too."),
    ("files_waiting_connections", "gauge", "Connections that nginx has not accepted yet."),
    ("files_cache_lookups_total", "counter", "Answers by what the cache had; without a cache there are none."),
    ("files_metrics_unreadable_lines_total", "counter", "Lines of the log that could not be counted."),
    ("files_metrics_unread_bytes", "gauge", "Bytes of the log that are not counted yet."),
    ("files_metrics_updated_timestamp_seconds", "gauge", "When these numbers were written."),
)
FROM_THE_START = ("200", "206", "304", "404", "500", "503")
"""Statuses that are there with a zero before they happen, so that the first one is an increase."""

_POSITION = re.compile(r"# The log \(inode (\d+)\) is counted up to byte (\d+)\.")
_LINE = re.compile(rb"([1-5][0-9][0-9]) ([0-9]+\.[0-9]+) ([0-9]+) (-|[A-Z]+) (new|kept)")
_KEEP_SIZE_AND_PUNCH_HOLE = 0x01 | 0x02


class Counts:
    """What has been counted so far, by sample (`files_requests_total{status="200"}`); seconds as milliseconds."""

    _SUM = "files_request_duration_seconds_sum"

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        for status in FROM_THE_START:
            self._numbers[f'files_requests_total{{status="{status}"}}'] = 0
        for bound in (*BOUNDS, "+Inf"):
            self._numbers[f'files_request_duration_seconds_bucket{{le="{bound}"}}'] = 0
        for sample in (
            self._SUM,
            "files_request_duration_seconds_count",
            "files_response_body_bytes_total",
            "files_connections_opened_total",
            "files_metrics_unreadable_lines_total",
        ):
            self._numbers[sample] = 0

    def add(self, lines: bytes) -> None:
        """Count whole lines of the log."""
        for line, count in Counter(lines.splitlines()).items():
            match = _LINE.fullmatch(line)
            if match is None:
                self._numbers["files_metrics_unreadable_lines_total"] += count
                continue
            status, duration, size, found, connection = (field.decode() for field in match.groups())
            seconds = float(duration)
            self._numbers[f'files_requests_total{{status="{status}"}}'] += count
            self._numbers["files_request_duration_seconds_count"] += count
            self._numbers[self._SUM] += round(seconds * 1000) * count
            for bound in BOUNDS:
                if seconds <= bound:
                    self._numbers[f'files_request_duration_seconds_bucket{{le="{bound}"}}'] += count
            self._numbers['files_request_duration_seconds_bucket{le="+Inf"}'] += count
            self._numbers["files_response_body_bytes_total"] += int(size) * count
            if connection == "new":
                self._numbers["files_connections_opened_total"] += count
            if found != "-":
                self._numbers[f'files_cache_lookups_total{{result="{found.lower()}"}}'] += count

    def go_on_from(self, text: str) -> None:
        """Take over the counters of an earlier `metrics.prom`."""
        counters = tuple(name for name, kind, _ in FAMILIES if kind != "gauge")
        for line in text.splitlines():
            sample, _, number = line.rpartition(" ")
            if sample.startswith(counters):
                self._numbers[sample] = round(float(number) * 1000) if sample == self._SUM else int(number)

    def text(self, gauges: dict[str, float]) -> str:
        """The metrics in Prometheus' text format."""
        samples = {sample: str(number) for sample, number in self._numbers.items()}
        samples[self._SUM] = f"{self._numbers[self._SUM] / 1000:.3f}"
        samples |= {name: f"{number:.15g}" for name, number in gauges.items()}
        lines = []
        for name, kind, meaning in FAMILIES:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [f"{sample} {number}" for sample, number in samples.items() if sample.startswith(name)]
        return "\n".join(lines) + "\n"


class RequestLog:
    """The log that nginx appends to: read from its beginning, and freed up to where it was read.

    Freed is what a hole takes the place of: nginx goes on at the end, its lines are never moved, and the file takes
    up no more room than what is not counted yet. A file system that has no holes gets the whole file emptied when
    everything is counted; there, lines written at that very moment are lost.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._fallocate = ctypes.CDLL(None, use_errno=True).fallocate
        self._fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        self._freed = 0
        self.inode = 0
        self.position = 0

    def go_on_from(self, inode: int, position: int) -> None:
        """Begin at this byte, if the log is still the same file; otherwise at the first line that it has."""
        if self._open() and self.inode == inode and position <= os.fstat(self._descriptor).st_size:
            self.position = max(self.position, position)

    def unread(self) -> int:
        """Bytes that are not read yet. Zero as long as there is no log."""
        if not self._open():
            return 0
        size = os.fstat(self._descriptor).st_size
        if size < self.position:  # somebody has emptied it
            self.position = self._freed = 0
        return size - self.position

    def read(self) -> bytes:
        """The next whole lines, CHUNK bytes at most; nothing when there are none."""
        if self.unread() == 0:
            return b""
        data = os.pread(self._descriptor, CHUNK, self.position)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == CHUNK:
            end = CHUNK  # no line of ours
        self.position += end
        return data[:end].lstrip(b"\0")

    def free(self) -> None:
        """Give the room of what was read back to the disk, if it is worth it."""
        if self.position - self._freed < WORTH_FREEING:
            return
        begin = self._freed - self._freed % 4096
        if self._fallocate(self._descriptor, _KEEP_SIZE_AND_PUNCH_HOLE, begin, self.position - begin) == 0:
            self._freed = self.position
        elif os.fstat(self._descriptor).st_size == self.position:
            os.ftruncate(self._descriptor, 0)
            self.position = self._freed = 0

    def _open(self) -> bool:
        """Whether there is a log. One that was put in the place of another is taken when the other one is read."""
        if self._descriptor >= 0:
            try:
                same = os.stat(self._path).st_ino == self.inode
            except FileNotFoundError:
                same = True  # as far as we know
            if same or os.fstat(self._descriptor).st_size > self.position:
                return True
            os.close(self._descriptor)
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._descriptor = -1
            return False
        self.inode = os.fstat(self._descriptor).st_ino
        try:
            self.position = os.lseek(self._descriptor, 0, os.SEEK_DATA)
        except OSError:  # there is nothing but a hole
            self.position = os.fstat(self._descriptor).st_size
        self._freed = self.position
        return True


def connections(port: int) -> dict[str, float]:
    """Connections to the port: open ones, and those that wait to be accepted. Nothing where Linux does not tell."""
    tables = b"".join(_socket_tables())
    if not tables:
        return {}
    # Number, local address, remote address, state, bytes to send and to read, for a listener: connections waiting.
    rows = re.findall(rb": [0-9A-F]+:%04X [0-9A-F]+:[0-9A-F]{4} (01|0A) [0-9A-F]+:([0-9A-F]+)" % port, tables)
    established = sum(state == b"01" for state, _ in rows)
    waiting = sum(int(queue, 16) for state, queue in rows if state == b"0A")
    return {"files_open_connections": max(0, established - waiting), "files_waiting_connections": waiting}


def _socket_tables() -> Iterator[bytes]:
    for name in ("tcp", "tcp6"):
        try:
            with open(f"/proc/self/net/{name}", "rb", buffering=0) as table:
                yield table.read()
        except OSError:
            continue


class Writer:
    """Keeps `metrics.prom` true."""

    def __init__(self, folder: str, port: int) -> None:
        self._path = os.path.join(folder, "metrics.prom")
        self._port = port
        self._counts = Counts()
        self._log = RequestLog(os.path.join(folder, "requests.log"))
        self._written = 0.0
        self._connections: dict[str, float] = {}
        self._connections_seen = 0.0
        self._fault = ""
        try:
            with open(self._path) as file:
                text = file.read()
            counts = Counts()
            counts.go_on_from(text)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:  # a crash of the machine has torn it
            print(f"{self._path} cannot be read, and counting begins anew: {error}", file=sys.stderr, flush=True)
            return
        self._counts = counts
        if match := _POSITION.search(text):
            self._log.go_on_from(int(match[1]), int(match[2]))

    def try_to_look(self, *, always: bool = False) -> None:
        """As `look`; what stands in the way, such as a full disk, is said once, and it is tried again the next time."""
        try:
            self.look(always=always)
            fault = ""
        except OSError as error:
            fault = str(error)
        if fault and fault != self._fault:
            print(f"The metrics cannot be written, and are tried again: {fault}", file=sys.stderr, flush=True)
        self._fault = fault

    def look(self, *, always: bool = False) -> None:
        """Count what is new and write the metrics, if there is something new or it is time for it."""
        while True:
            counted = 0
            while counted < CHUNKS and (lines := self._log.read()):
                self._counts.add(lines)
                counted += 1
            if counted or always or time.monotonic() - self._written >= IDLE_SECONDS:
                self._write()
            if counted < CHUNKS:
                return

    def _write(self) -> None:
        if time.monotonic() - self._connections_seen >= IDLE_SECONDS:  # Linux goes through those of all ports for it
            self._connections, self._connections_seen = connections(self._port), time.monotonic()
        gauges = self._connections | {
            "files_metrics_unread_bytes": self._log.unread(),
            "files_metrics_updated_timestamp_seconds": round(time.time(), 3),
        }
        position = f"# The log (inode {self._log.inode}) is counted up to byte {self._log.position}.\n"
        text = position + self._counts.text(gauges)
        try:
            self._replace(text)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._log.free()  # it may be the log that has filled the disk
            self._replace(text)
        self._log.free()
        self._written = time.monotonic()

    def _replace(self, text: str) -> None:
        partial = f"{self._path}.partial"
        with open(partial, "w") as file:
            file.write(text)
        os.replace(partial, self._path)


def main() -> None:
    """Count until a signal asks to stop."""
    folder, port = os.environ.get("FILES_METRICS", ""), os.environ.get("FILES_PORT", "")
    if not os.path.isdir(folder) or not port.isdigit():
        sys.exit("Set FILES_METRICS to the folder and FILES_PORT to the port that nginx's configuration has.")
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    writer = Writer(folder, int(port))
    writer.try_to_look(always=True)
    while signal.sigtimedwait(stop, LOOK_SECONDS) is None:
        writer.try_to_look()
    writer.try_to_look(always=True)


if __name__ == "__main__":
    main()
