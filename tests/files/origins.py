"""Origins for the cache: the real images role, and a server of our own that can also fail in every way."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.files.serving import PATIENCE, PROJECT, free_ports, until

SHORT = "max-age=1, stale-while-revalidate=1, stale-if-error=600"
"""What the images role says, with the seconds of a test in place of the real ones."""


@contextlib.contextmanager
def images_role(root: Path) -> Iterator[str]:
    """The images role under gunicorn over the store at `root`; its host and port. It has no database to talk to."""
    port, management_port = free_ports(2)
    key = f"tests:{b64encode(secrets.token_bytes(32)).decode()}"
    with tempfile.TemporaryDirectory(prefix="seawall-files-") as metrics:
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "config.settings.images",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": "127.0.0.1",
            "SERVICE_KEYS": key,
            "AUTH_URL": "http://127.0.0.1:1",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere",
            "IMAGE_ROOT": str(root),
            "BIND": f"127.0.0.1:{port}",
            "MANAGEMENT_BIND": f"127.0.0.1:{management_port}",
            "PROMETHEUS_MULTIPROC_DIR": metrics,
            "GRACEFUL_TIMEOUT": "1",
            "LOG_LEVEL": "WARNING",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"],
            cwd=PROJECT,
            env=environment,
            start_new_session=True,
        )

        def is_ready() -> bool:
            assert process.poll() is None, "the images role has ended"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{management_port}/readyz", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        try:
            until(is_ready, "the images role is ready", PATIENCE * 2)
            yield f"127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass
class Asked:
    """A request that reached the origin."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Origin:
    """A real HTTP server that answers as a test tells it to.

    `images` are the bytes by path; `headers` come with each of them; `mood` is what happens to every request: `well`,
    `slow` (after `seconds`), `hangs` (until the mood changes), `resets`, `cut` (half of the body), or a status.
    """

    port: int = 0
    images: dict[str, bytes] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: {"Cache-Control": SHORT})
    error_headers: dict[str, str] = field(default_factory=dict)
    mood: str | int = "well"
    seconds: float = 0.0
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        """How often it was asked for the path."""
        return sum(asked.path == path for asked in self.asked)

    def serve(self) -> ThreadingHTTPServer:
        """Begin to serve, at the port of before if there was one."""
        server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextlib.contextmanager
def scripted_origin() -> Iterator[Origin]:
    """An Origin that serves."""
    origin = Origin()
    server = origin.serve()
    try:
        yield origin
    finally:
        origin.mood = "well"
        server.shutdown()
        server.server_close()


def _handler(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = PATIENCE

        def setup(self) -> None:
            origin.connections += 1
            super().setup()

        def do_GET(self) -> None:
            origin.asked.append(Asked(self.command, self.path, dict(self.headers.items())))
            mood = origin.mood
            if mood == "slow":
                time.sleep(origin.seconds)
            elif mood == "hangs":
                while origin.mood == "hangs":
                    time.sleep(0.05)
                self.close_connection = True
                return
            elif mood == "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            if isinstance(mood, int):
                self._answer(mood, origin.error_headers, b"it went wrong")
                return
            body = origin.images.get(self.path)
            if body is None:
                self._answer(404, {"Cache-Control": "max-age=5"}, b"")
                return
            etag = f'"{len(body):x}-{body[:4].hex()}"'
            headers = {"ETag": etag, "Content-Type": "image/png", **origin.headers}
            if self.headers.get("If-None-Match") == etag:
                self._answer(304, headers, b"")
                return
            self._answer(200, headers, body, half=mood == "cut")

        do_HEAD = do_GET  # noqa: N815

        def _answer(self, status: int, headers: dict[str, str], body: bytes, *, half: bool = False) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if half else body)
            self.close_connection = self.close_connection or half

        def log_message(self, *_: object) -> None:
            pass

    return Handler
