"""The servers that are compared: `files` as it is configured, the same nginx bare, Go's file server; and the origin."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import urllib3

from ops.nginx import FOLDER, find_nginx
from tests.files.serving import (
    IDENTITY,
    PATIENCE,
    Files,
    free_ports,
    running_nginx,
    scratch_folder,
    store,
    until,
)

PROJECT = Path(__file__).resolve().parents[2]
WORKERS = 2  # of each nginx; Go takes as many threads as there are cores

# What it takes to serve files. Connections last as long as those of `files`, so that both open equally many.
BARE = """
worker_processes {workers};
pid "{folder}/temp/nginx.pid";
error_log stderr warn;
events {{
    worker_connections 3072;
}}
http {{
    client_body_temp_path "{folder}/temp/client_body";
    proxy_temp_path "{folder}/temp/proxy";
    fastcgi_temp_path "{folder}/temp/fastcgi";
    scgi_temp_path "{folder}/temp/scgi";
    uwsgi_temp_path "{folder}/temp/uwsgi";
    access_log off;
    sendfile on;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root "{root}";
    }}
}}
"""


class LackingError(Exception):
    """Something that this machine does not have; the message says what to install."""


@dataclass(frozen=True)
class Server:
    """Something that serves `/uploads/…` on the loopback address, and the processes that it consists of."""

    port: int
    processes: tuple[int, ...]

    def url(self, name: str) -> str:
        """The address of a stored file."""
        return f"http://127.0.0.1:{self.port}/uploads/{name}"


_pool = urllib3.PoolManager(retries=False, timeout=10)


def fetch(url: str) -> bytes:
    """The body at an address, over a connection that is kept.

    Raises:
        RuntimeError: another answer than 200.
    """
    answer = _pool.request("GET", url)
    if answer.status != 200:
        raise RuntimeError(f"{url} was answered with {answer.status}")
    return answer.data


@contextlib.contextmanager
def files(images: Mapping[str, bytes], *, counted: bool = True) -> Iterator[Server]:
    """`files` over a volume with these images. Without `counted`, no read is logged and nothing makes metrics."""
    with contextlib.ExitStack() as stack:
        folder = _folder_with(stack, images)
        change = _same if counted else _uncounted
        nginx = stack.enter_context(running_nginx(folder, "volume", change=change, quiet=False))
        yield _served(stack, nginx, counted=counted)


@contextlib.contextmanager
def cached_files(origin: str) -> Iterator[Server]:
    """`files` with a cache in front of an origin (host and port)."""
    with contextlib.ExitStack() as stack:
        folder = _folder_with(stack, {})
        nginx = stack.enter_context(running_nginx(folder, "origin", origin=origin, quiet=False))
        yield _served(stack, nginx, counted=True)


@contextlib.contextmanager
def bare_nginx(images: Mapping[str, bytes]) -> Iterator[Server]:
    """The program of `files`, with what it takes to serve files and nothing else."""
    with contextlib.ExitStack() as stack:
        folder = _folder_with(stack, images)
        [port] = free_ports(1)
        configuration = folder / "bare.conf"
        root = folder / "store with spaces"
        configuration.write_text(BARE.format(workers=WORKERS, folder=folder, port=port, root=root))
        program = shutil.copy2(find_nginx(), folder / "nginx")
        command = [str(program), "-e", "stderr", "-p", str(folder), "-c", str(configuration), "-g", "daemon off;"]
        process = stack.enter_context(running(command, port, as_nobody=True))
        yield Server(port, (process.pid,))


@contextlib.contextmanager
def go_server(images: Mapping[str, bytes]) -> Iterator[Server]:
    """Go's http.FileServer.

    Raises:
        LackingError: there is no Go here.
    """
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")
    if go is None:
        raise LackingError("needs Go: install the package golang-go")
    with contextlib.ExitStack() as stack:
        folder = _folder_with(stack, images)
        program = folder / "fileserver"
        environment = os.environ | {"GOCACHE": str(folder / "gocache"), "GOTOOLCHAIN": "local", "GOPROXY": "off"}
        source = Path(__file__).with_name("fileserver.go")
        subprocess.run([go, "build", "-o", str(program), str(source)], check=True, env=environment)
        shutil.rmtree(folder / "gocache")
        [port] = free_ports(1)
        command = [str(program), f"127.0.0.1:{port}", str(folder / "store with spaces")]
        process = stack.enter_context(running(command, port, as_nobody=True))
        yield Server(port, (process.pid,))


@dataclass(frozen=True)
class Origin:
    """The images role, as far as it is an origin."""

    port: int
    management_port: int

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def requests(self) -> int:
        """How many requests its Python code has seen."""
        text = fetch(f"http://127.0.0.1:{self.management_port}/metrics").decode()
        counted = re.findall(r"^django_http_requests_before_middlewares_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE)
        return round(sum(map(float, counted)))


@contextlib.contextmanager
def images_role(store_environment: Mapping[str, str]) -> Iterator[Origin]:
    """The images role under gunicorn over the store that the variables name. It has no database, nor needs one."""
    port, management_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as metrics:
        environment = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "config.settings.images",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": "127.0.0.1",
            "SERVICE_KEYS": f"benchmarks:{b64encode(secrets.token_bytes(32)).decode()}",
            "AUTH_URL": "http://127.0.0.1:1",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nowhere",
            "BIND": f"127.0.0.1:{port}",
            "MANAGEMENT_BIND": f"127.0.0.1:{management_port}",
            "PROMETHEUS_MULTIPROC_DIR": metrics,
            "GRACEFUL_TIMEOUT": "1",
            "LOG_LEVEL": "WARNING",
            **store_environment,
        }
        command = [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"]
        with running(command, port, environment=environment):
            yield Origin(port, management_port)


@contextlib.contextmanager
def running(
    command: list[str], port: int, *, environment: Mapping[str, str] | None = None, as_nobody: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, accepting connections on entry and gone on exit."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # type: ignore[call-overload]
            command,
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **(IDENTITY if as_nobody else {}),
        )
        try:
            until(lambda: _accepts(process, port, log), f"{command[0]} accepts connections", PATIENCE * 2)
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _accepts(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> bool:
    if process.poll() is not None:
        log.seek(0)
        raise RuntimeError(f"it has ended:\n{log.read().decode(errors='replace')}")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _folder_with(stack: contextlib.ExitStack, images: Mapping[str, bytes]) -> Path:
    folder = stack.enter_context(scratch_folder())
    for name, content in images.items():
        store(folder / "store with spaces", name, content)
    return folder


def _served(stack: contextlib.ExitStack, nginx: Files, *, counted: bool) -> Server:
    processes = [nginx.process.pid]
    if counted:
        environment = {"FILES_METRICS": str(nginx.metrics), "FILES_PORT": str(nginx.port)}
        writer = [sys.executable, "-I", "-S", str(FOLDER / "metrics.py")]
        processes.append(stack.enter_context(running(writer, nginx.port, environment=environment)).pid)
    return Server(nginx.port, tuple(processes))


def _same(configuration: str) -> str:
    return configuration


def _uncounted(configuration: str) -> str:
    return re.sub(r'access_log "[^"]*/requests\.log"[^;]*;', "", configuration)
