"""A proxy on a real socket, between a client and a server, that can be told to be slow, silent or gone."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Literal

Mode = Literal["pass", "hang", "drip", "cut"]
DRIP_SECONDS = 0.2  # between two bytes


class Proxy:
    """Passes bytes on to `target`, a port of the loopback address.

    `mode` may be changed at any time, also for connections that are open: `hang` swallows what comes from either side,
    `drip` sends the client a byte at a time, `cut` closes.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.mode: Mode = "pass"
        self._target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = True
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends it."""
        self._open, self.mode = False, "cut"
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(client)
            if self._tls is not None:
                client = stack.enter_context(self._tls.wrap_socket(client, server_side=True))
            server = stack.enter_context(socket.create_connection(("127.0.0.1", self._target)))
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server, to_server=True)
            back.join()

    def _copy(self, source: socket.socket, sink: socket.socket, *, to_server: bool = False) -> None:
        source.settimeout(0.1)
        with contextlib.suppress(OSError):
            while self._open and self.mode != "cut":
                try:
                    data = source.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    break
                if self.mode == "pass" or (self.mode == "drip" and to_server):
                    sink.sendall(data)
                elif self.mode == "drip":
                    self._drip(data, sink)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def _drip(self, data: bytes, sink: socket.socket) -> None:
        for byte in data:
            if self.mode != "drip":
                return
            sink.sendall(bytes([byte]))
            time.sleep(DRIP_SECONDS)


@contextlib.contextmanager
def proxy(target: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    between = Proxy(target, tls)
    try:
        yield between
    finally:
        between.close()
