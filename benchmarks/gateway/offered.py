"""Load that does not wait for answers: so many requests a second, whatever becomes of those before.

Run as `python -m benchmarks.gateway.offered`. Reads one JSON object: `port`, `path`, `headers`, `tokens`, `rate` (a
second), `seconds`. Prints one: by status, the `times` from the moment when a request was due to its answer, in ms; and
`tallies`: how many were due and sent, how long that took, how many were served meanwhile, what became of the others.

A request goes out over any connection that is free, a new one if there is none, up to CONNECTIONS. One that found
none within GIVE_UP was not offered; one that was not answered within GIVE_UP after the last was due, is lost.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

from benchmarks.gateway.load import give_way

CONNECTIONS = 1600
GIVE_UP = 5.0  # seconds
LAG = 0.002  # seconds that the loop sleeps at most, while requests are due


@dataclass(slots=True)
class Connection:
    """One connection, with at most one request under way."""

    socket: socket.socket
    due: float = 0.0
    request: bytes = b""  # what has not been sent yet
    events: int = select.EPOLLIN  # that are waited for
    received: bytearray = field(default_factory=bytearray)


class Offer:
    """The requests of one run."""

    def __init__(self, port: int, requests: list[bytes], rate: float, seconds: float) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = requests
        self._rate = rate
        self._count = int(rate * seconds)
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._busy = 0
        self._sending = True
        self.times: defaultdict[str, list[float]] = defaultdict(list)  # ms by status
        self.tallies: Counter[str] = Counter()

    def run(self) -> None:
        """Sends everything when it is due, and waits for the answers."""
        began = time.monotonic()
        due, waiting = 0, deque[float]()
        while True:
            now = time.monotonic()
            while due < self._count and began + due / self._rate <= now:
                waiting.append(began + due / self._rate)
                due += 1
            while waiting and now - waiting[0] > GIVE_UP:
                waiting.popleft()
                self.tallies["not offered"] += 1
            while waiting and (connection := self._connection()) is not None:
                self._send(connection, waiting.popleft())
            if due == self._count and not waiting:
                self._sending = False
                self.tallies.setdefault("sending_ms", round(1000 * (time.monotonic() - began)))
                if not self._busy or now > began + self._count / self._rate + GIVE_UP:
                    break
            pause = GIVE_UP if due == self._count else max(0.0, began + due / self._rate - time.monotonic())
            for descriptor, event in self._poll.poll(min(LAG, pause)):
                self._ready(self._open[descriptor], event)
        self.tallies["lost"] = self._busy
        self.tallies["due"] = due
        self.tallies["cpu_percent"] = round(100 * time.process_time() / (time.monotonic() - began))

    def _connection(self) -> Connection | None:
        if self._free:
            return self._free.pop()
        if len(self._open) >= CONNECTIONS:
            return None
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            made.connect(self._address)
        connection = Connection(made)
        self._open[made.fileno()] = connection
        self._poll.register(made, select.EPOLLIN)
        self.tallies["connections"] += 1
        return connection

    def _send(self, connection: Connection, due: float) -> None:
        connection.due = due
        connection.request = random.choice(self._requests)  # noqa: S311 - an order, no secret
        self._busy += 1
        self.tallies["sent"] += 1
        self._write(connection)

    def _write(self, connection: Connection) -> None:
        try:
            sent = connection.socket.send(connection.request)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._failed(connection)
            return
        connection.request = connection.request[sent:]
        events = select.EPOLLIN | select.EPOLLOUT if connection.request else select.EPOLLIN
        if events != connection.events:
            self._poll.modify(connection.socket, events)
            connection.events = events

    def _ready(self, connection: Connection, event: int) -> None:
        if event & select.EPOLLOUT and connection.request:
            self._write(connection)
            if connection.socket.fileno() < 0:  # it has failed
                return
        if not event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            data = connection.socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._failed(connection)
            return
        connection.received += data
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        head, found, body = connection.received.partition(b"\r\n\r\n")
        if not found:
            return
        fields = head.lower()
        if b"\r\ntransfer-encoding:" in fields:
            raise RuntimeError("an answer came in chunks, without its length")
        length = int(fields.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) < length:
            return
        status = head[9:12].decode()
        self.times[status].append(1000 * (time.monotonic() - connection.due))
        self.tallies["200 meanwhile"] += status == "200" and self._sending
        if status == "503" and b"\r\nretry-after:" in fields:
            self.tallies["with Retry-After"] += 1
        connection.received.clear()
        connection.due = 0.0
        self._busy -= 1
        if b"\r\nconnection: close" in fields:
            self._close(connection)
        else:
            self._free.append(connection)

    def _failed(self, connection: Connection) -> None:
        """The other side has ended the connection: with a request under way, that one has failed."""
        if connection.due:
            self._busy -= 1
            self.tallies["failed"] += 1
        else:
            self._free.remove(connection)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        del self._open[connection.socket.fileno()]
        self._poll.unregister(connection.socket)
        connection.socket.close()


def main() -> None:
    """Offers what it is told to."""
    give_way()
    task: dict[str, Any] = json.load(sys.stdin)
    more = "".join(f"{name}: {value}\r\n" for name, value in task["headers"].items())
    requests = [
        (
            f"GET {task['path']} HTTP/1.1\r\nHost: 127.0.0.1:{task['port']}\r\nAuthorization: Bearer {token}\r\n"
            f"{more}\r\n"
        ).encode()
        for token in task["tokens"]
    ]
    offer = Offer(task["port"], requests, task["rate"], task["seconds"])
    offer.run()
    print(json.dumps({"times": offer.times, "tallies": offer.tallies}))


if __name__ == "__main__":
    main()
