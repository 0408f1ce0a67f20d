"""The address under which servers are known, as a Service or a load balancer of a cluster is: it passes bytes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from typing import Any

from tests.running import PATIENCE

HOST = "127.0.0.1"


class Relay:
    """Passes new connections to the port that is current when they come; older ones stay where they are.

    It runs on a thread of its own until `close`. With `tls` its clients speak TLS to it, and it plainly to the server.

    Attributes:
        port: where it listens.
        url: the same, for a relay to a server of HTTP; by TLS, with the name localhost.
        refused: connections behind which nobody answered.
    """

    def __init__(self, target: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://{HOST}:{self.port}"
        self.refused = 0
        self._target = target
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._joined: set[asyncio.Task[Any] | None] = set()  # asyncio itself does not keep a task from being collected
        self._thread = threading.Thread(target=self._serve, name="relay", daemon=True)
        self._thread.start()

    def switch(self, port: int) -> None:
        """From now on new connections go to `port`."""
        self._target = port

    def _choose(self) -> int:
        """The port for a new connection."""
        return self._target

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._accept())

    async def _accept(self) -> None:
        server = await asyncio.start_server(self._join, sock=self._listener, ssl=self._tls)
        await self._over.wait()
        server.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, and its other half, until both ways have ended or one of them breaks."""
        writers = [writer]
        self._joined.add(task := asyncio.current_task())
        # Cancelled only when the relay is closed; the server of asyncio would log that as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                try:
                    inner_reader, inner_writer = await asyncio.open_connection(HOST, self._choose())
                except OSError:
                    self.refused += 1
                    raise
                writers.append(inner_writer)
                await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
            finally:
                self._joined.discard(task)
                for each in writers:
                    each.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:  # TLS has no half of a connection
        writer.close()
