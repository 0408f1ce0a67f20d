"""A real nginx on the real configuration, without any privilege, and what may be asked of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.nginx import FOLDER, find_nginx, write_configuration

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
"""Seconds that anything may take on a loaded machine before a test gives up on it."""

ID = "0b1c2d3e-0000-4000-8000-000000000001"
CONTENT = bytes(range(256)) * 40
MOMENT = 1_700_000_000
TYPES = {
    f"{ID}.png": "image/png",
    f"{ID}.jpg": "image/jpeg",
    f"{ID}.webp": "image/webp",
    f"{ID}.gif": "image/gif",
    f"{ID}.avatar.webp": "image/webp",
    f"{ID}.card.webp": "image/webp",
}
UNPRIVILEGED = 65534
IDENTITY = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []} if os.geteuid() == 0 else {}
"""Where the tests run as root, nginx and what runs beside it do not."""

DEBIAN_NGINX = Path("/usr/sbin/nginx")
PROGRAMS = [
    pytest.param(find_nginx, id="wheel"),
    pytest.param(
        lambda: DEBIAN_NGINX,
        id="debian",
        marks=pytest.mark.skipif(
            not DEBIAN_NGINX.exists(), reason="needs an older nginx: install the package nginx-light"
        ),
    ),
]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Files:
    """A running nginx and its folders."""

    folder: Path
    port: int
    management_port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def root(self) -> Path:
        """The store, for the source `volume`."""
        return self.folder / "store with spaces"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics"

    def ask(
        self, path: str, method: str = "GET", *, port: int | None = None, body: bytes = b"", **headers: str
    ) -> Answer:
        """The answer to a request whose path is sent exactly as it is given."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def manage(self, path: str) -> Answer:
        """The answer of the management port."""
        return self.ask(path, port=self.management_port)

    def raw(self, request: bytes) -> bytes:
        """What comes back for bytes that no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for the condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that the unprivileged user can use, with a copy of the program that it can run."""
    with tempfile.TemporaryDirectory(prefix="seawall-files-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "store with spaces" / "uploads").mkdir(parents=True)
        for writable in ("temp", "cache", "metrics"):
            (folder / writable).mkdir()
            if IDENTITY:
                os.chown(folder / writable, UNPRIVILEGED, UNPRIVILEGED)
        (folder / "log").touch()
        if IDENTITY:
            os.chown(folder / "log", UNPRIVILEGED, UNPRIVILEGED)
        yield folder


@contextlib.contextmanager
def running_nginx(
    folder: Path,
    source: str,
    *,
    origin: str = "127.0.0.1:1",
    program: Path | None = None,
    change: Callable[[str], str] = lambda configuration: configuration,
    quiet: bool = True,
    https_host: str = "",
) -> Iterator[Files]:
    """nginx, Ready on entry and gone on exit.

    `change` may put shorter times into the configuration. With `quiet`, a warning in the log is a failure.
    """
    port, management_port = free_ports(2)
    root, temp = folder / "store with spaces", folder / "temp"
    values = {
        "FILES_LISTEN_ADDRESS": "127.0.0.1",
        "FILES_PORT": str(port),
        "FILES_MANAGEMENT_PORT": str(management_port),
        "FILES_SOURCE": source,
        "FILES_METRICS": str(folder / "metrics"),
        "FILES_TEMP": str(temp),
        "FILES_PID": str(temp / "nginx.pid"),
        "FILES_WORKERS": "2",
        "FILES_HTTPS_HOST": https_host,
    }
    if source == "volume":
        values |= {"FILES_ROOT": str(root)}
    else:
        values |= {"FILES_ORIGIN": origin, "FILES_CACHE": str(folder / "cache"), "FILES_CACHE_SIZE": "100m"}
    configuration = write_configuration(folder, values)
    for written in folder.glob("*.conf"):
        written.write_text(change(written.read_text()))
    runnable = folder / "nginx"
    if not runnable.exists():
        shutil.copy2(program or find_nginx(), runnable)  # where the unprivileged user can run it
    command = [str(runnable), "-e", "stderr", "-p", str(temp), "-c", str(configuration), "-g", "daemon off;"]
    log = folder / "log"
    with log.open("ab") as sink:
        # Both write to the log: nginx opens /dev/stderr again, and a pipe of ours would be closed to it.
        checked = subprocess.run([*command, "-t"], stdout=sink, stderr=sink, **IDENTITY)  # type: ignore[call-overload]
        assert checked.returncode == 0, log.read_text()
        assert not re.search(r"\[(warn|error|alert|emerg)\]", log.read_text()), log.read_text()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, **IDENTITY)  # type: ignore[call-overload]
    files = Files(folder, port, management_port, process, log)
    try:
        until(lambda: _is_ready(files), "nginx is ready")
        yield files
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
    if quiet:
        assert not re.search(r"\[(warn|alert|emerg)\]", log.read_text()), log.read_text()


def _is_ready(files: Files) -> bool:
    assert files.process.poll() is None, files.log.read_text()
    try:
        return files.manage("/readyz").status == 200
    except OSError:
        return False


def store(root: Path, name: str, content: bytes = CONTENT) -> Path:
    """Put an image into the store."""
    path = root / "uploads" / name
    path.write_bytes(content)
    path.chmod(0o644)
    os.utime(path, (MOMENT, MOMENT))
    return path


@contextlib.contextmanager
def running_writer(files: Files) -> Iterator[subprocess.Popen[bytes]]:
    """The process that makes metrics, as `up` and a cluster run it."""
    environment = {"FILES_METRICS": str(files.metrics), "FILES_PORT": str(files.port)}
    process = subprocess.Popen([sys.executable, "-I", "-S", str(FOLDER / "metrics.py")], env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
