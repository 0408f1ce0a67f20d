"""Two processes of each role as a cluster runs them: an Ingress in front, a Service before each role, rolling restarts.

The Ingress is a real nginx that keeps connections to the gateway open. A Service is a TCP balancer, another nginx: it
spreads connections, not requests, over the processes that were ready when they were last asked, and what is on a
connection stays with its process. Neither of them sends anything again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from ops.nginx import find_nginx
from ops.processes import end_now
from tests.rotation.rolling import END_SECONDS, HOST, Replica
from tests.running import until
from tests.support import free_port_base

ROLES = ("gateway", "auth", "images")
REPLICAS = 2
PROBE_SECONDS = 0.5  # between two questions for readiness
# A Service hears of the end of a process one probe late. Callers must have dropped what they keep idle when the process
# has waited this long and its two seconds for idle connections: nginx below keeps it for 2 s, a role for 1.5 s.
SHUTDOWN_DELAY = 2  # seconds

_NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
"""
_SERVICE = """
stream {{
    upstream processes {{
{members}
    }}
    server {{
        listen {host}:{port} backlog=512;
        proxy_pass processes;
        proxy_next_upstream off;
        proxy_connect_timeout 1s;
        proxy_timeout 1h;
    }}
}}
"""
_INGRESS = """
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 20m;
    keepalive_requests 1000000;
    upstream gateway {{
        server {gateway};
        keepalive 32;
        keepalive_timeout 2s;
    }}
    server {{
        listen {host}:{port} backlog=512;
        location / {{
            proxy_pass http://gateway;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_next_upstream off;
        }}
    }}
}}
"""


class Service:
    """Spreads new connections, in turn, over those of its processes that are ready: nginx, which passes bytes on.

    It reads its configuration anew when these have changed, and connections that are there stay where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port_base()
        self._members: tuple[int, ...] = ()
        self._ready: tuple[int, ...] = ()
        self._ending = threading.Event()
        self._stack = contextlib.ExitStack()
        folder.mkdir()
        self._nginx = self._stack.enter_context(_nginx(folder, self._configuration()))
        until(self._listens, f"nginx listens; its log: {folder / 'log'}")
        self._watch = threading.Thread(target=self._probe, name="readiness", daemon=True)
        self._watch.start()
        self.url = f"http://{HOST}:{self._port}"

    def add(self, port: int) -> None:
        """Lets a process take part as soon as it is ready; waits for that."""
        self._members += (port,)
        until(lambda: port in self._ready, f"the process at {port} is ready")

    def remove(self, port: int) -> None:
        """Forgets a process that has ended."""
        self._members = tuple(member for member in self._members if member != port)

    def close(self) -> None:
        """Ends every connection, nginx and the thread."""
        self._ending.set()
        self._watch.join()
        self._stack.close()

    def _listens(self) -> bool:
        assert self._nginx.poll() is None, (self._folder / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._port)) == 0

    def _configuration(self) -> str:
        # Nobody listens at port 1: a Service without processes refuses.
        members = "\n".join(f"        server {HOST}:{port} max_fails=0;" for port in self._ready or (1,))
        return _SERVICE.format(members=members, host=HOST, port=self._port)

    def _probe(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=1)
        while not self._ending.wait(PROBE_SECONDS):
            ready = tuple(port for port in self._members if _is_ready(pool, port))
            if ready != self._ready:
                self._ready = ready
                _write(self._folder, self._configuration())
                self._nginx.send_signal(signal.SIGHUP)


def _is_ready(pool: urllib3.PoolManager, port: int) -> bool:
    try:
        return pool.request("GET", f"http://{HOST}:{port + 1000}/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


@dataclass
class Fleet:
    """Two processes of each role behind its Service, and the Ingress at `url`."""

    folder: Path
    services: dict[str, Service] = field(default_factory=dict)
    current: dict[str, list[Replica]] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)
    url: str = ""
    replaced: int = 0

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator[Fleet]:
        """The fleet, ready, while the block runs; every process of it has ended afterwards."""
        fleet = cls(folder)
        with contextlib.ExitStack() as stack:
            for role in ROLES:
                fleet.services[role] = Service(folder / f"service-{role}")
                stack.callback(fleet.services[role].close)
            stack.callback(lambda: [replica.end() for replica in fleet.replicas])
            for role in reversed(ROLES):
                fleet.current[role] = [fleet._start(role) for _ in range(REPLICAS)]
            for role, replicas in fleet.current.items():
                for replica in replicas:
                    replica.wait_until_ready()
                    fleet.services[role].add(replica.port)
            fleet.url = stack.enter_context(_ingress(folder, fleet.services["gateway"].url))
            yield fleet

    def replace(self, role: str) -> None:
        """The oldest process of a role is told to end when a new one is ready, as a rolling update does."""
        successor = self._start(role)
        successor.wait_until_ready()
        self.services[role].add(successor.port)
        ending = self.current[role].pop(0)
        self.current[role].append(successor)
        ending.stop()
        self.services[role].remove(ending.port)
        self.replaced += 1

    def complaints(self) -> list[str]:
        """What the processes' logs say about faults."""
        marks = ('"level": "error"', '"level": "critical"', "Traceback")
        return [
            line
            for replica in self.replicas
            for line in replica.log.read_text().splitlines()
            if any(mark in line for mark in marks)
        ]

    def _start(self, role: str) -> Replica:
        variables = {
            "AUTH_URL": self.services["auth"].url,
            "IMAGES_URL": self.services["images"].url,
            "SHUTDOWN_DELAY": str(SHUTDOWN_DELAY),
            "WORKERS": "1",
        }
        replica = Replica.start(role, variables, self.folder / f"{len(self.replicas)}-{role}")
        self.replicas.append(replica)
        return replica


@contextlib.contextmanager
def _ingress(folder: Path, gateway: str) -> Iterator[str]:
    """An nginx in front of the gateway's Service; its address."""
    place = folder / "nginx"
    place.mkdir()
    port = free_port_base()
    with _nginx(place, _INGRESS.format(folder=place, host=HOST, port=port, gateway=gateway.partition("://")[2])):
        url = f"http://{HOST}:{port}"
        until(lambda: _answers(url), f"nginx serves; its log: {place / 'log'}")
        yield url


@contextlib.contextmanager
def _nginx(folder: Path, configuration: str) -> Iterator[subprocess.Popen[bytes]]:
    """nginx in that folder, while the block runs."""
    _write(folder, configuration)
    argv = [str(find_nginx()), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr", "-g", "daemon off;"]
    with (folder / "log").open("wb") as sink:
        process = subprocess.Popen(argv, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        if process.poll() is None:
            end_now(process)


def _write(folder: Path, configuration: str) -> None:
    """What nginx reads when it starts, and at SIGHUP."""
    user = "user root;" if os.geteuid() == 0 else ""  # nobody else may enter the folder of the tests
    (folder / "nginx.conf").write_text(_NGINX.format(user=user, folder=folder) + configuration)


def _answers(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/sign-in", retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        time.sleep(0.05)
        return False
