"""Roles that are replaced one process at a time behind balancers, and people whose every call needs a signed one.

The processes are the test's own: gunicorn with the environment that the running system has written, on other ports,
with the databases and the store of that system.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from ops.processes import end_now
from tests.relay import Relay
from tests.running import PROJECT, Person, environment_of, picture, until
from tests.support import free_port_base

ROLES = ("auth", "images", "gateway")
HOST = "127.0.0.1"
READY_SECONDS = 60.0
END_SECONDS = 30.0  # for a process that was told to end: longer than GRACEFUL_TIMEOUT, which is 20 s
SHUTDOWN_DELAY = 1  # seconds that a process still takes connections after SIGTERM, as behind any balancer

# gunicorn, which gets SIGTERM when this process dies, however it dies (PR_SET_PDEATHSIG outlives exec).
_GUNICORN = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"])
"""


@dataclass
class Replica:
    """One gunicorn of a role: its master, which leads a session of its own."""

    role: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """The address of its application port."""
        return f"http://{HOST}:{self.port}"

    @classmethod
    def start(cls, role: str, variables: Mapping[str, str], folder: Path) -> Replica:
        """Starts it in a folder of its own, with `variables` besides those of the running system's process."""
        folder.mkdir()
        port = free_port_base()
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= environment_of(role)
        environment |= {
            "DJANGO_SETTINGS_MODULE": f"config.settings.{role}",
            "BIND": f"{HOST}:{port}",
            "MANAGEMENT_BIND": f"{HOST}:{port + 1000}",
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
            "SHUTDOWN_DELAY": str(SHUTDOWN_DELAY),
        }
        if "JWKS_CACHE_FILE" in environment:
            environment["JWKS_CACHE_FILE"] = str(folder / "jwks.json")
        log = folder / "log"
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-c", _GUNICORN, str(os.getpid())],
                cwd=PROJECT,
                env=environment | dict(variables),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(role, port, process, log)

    def wait_until_ready(self) -> None:
        """Waits for 200 of /readyz."""
        until(self._is_ready, f"{self.role} is ready; its log: {self.log}", READY_SECONDS)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            address = f"http://{HOST}:{self.port + 1000}/readyz"
            return urllib3.request("GET", address, retries=False, timeout=2).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def stop(self) -> None:
        """SIGTERM, and waits for the end of what it was answering."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(END_SECONDS) == 0, self.log.read_text()

    def end(self) -> None:
        """Makes sure that nothing of it is left."""
        if self.process.poll() is None:
            end_now(self.process)
            self.process.wait(END_SECONDS)


@dataclass
class Fleet:
    """Gateway, auth and images, one process of each behind a balancer of its own, which is the address others know.

    `keys` of a role are what SERVICE_KEYS says: `id:base64`, the one that signs first.
    """

    folder: Path
    balancers: dict[str, Relay] = field(default_factory=dict)
    current: dict[str, Replica] = field(default_factory=dict)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def gateway(self) -> str:
        """Where people find it."""
        return self.balancers["gateway"].url

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path, keys: Mapping[str, Sequence[str]]) -> Iterator[Fleet]:
        """The fleet, ready, while the block runs; every process of it has ended afterwards."""
        fleet = cls(folder)
        try:
            fleet.balancers |= {role: Relay() for role in ROLES}
            started = {role: fleet._start(role, keys[role]) for role in ROLES}
            for role, replica in started.items():
                fleet._let_in(role, replica)
            yield fleet
            for replica in fleet.current.values():
                replica.process.send_signal(signal.SIGTERM)
            for replica in fleet.current.values():
                replica.process.wait(END_SECONDS)
        finally:
            for replica in fleet.replicas:
                replica.end()
            for balancer in fleet.balancers.values():
                balancer.close()

    def replace(self, role: str, keys: Sequence[str]) -> None:
        """A rolling restart: the new process is ready before the old one is told to end."""
        before = self.current[role]
        self._let_in(role, self._start(role, keys))
        before.stop()

    def refused_signatures(self) -> Counter[str]:
        """How many signed calls each role has refused, as its processes' logs say."""
        return Counter(
            replica.role
            for replica in self.replicas
            for line in replica.log.read_text().splitlines()
            if "service_signature_refused" in line
        )

    def _start(self, role: str, keys: Sequence[str]) -> Replica:
        variables = {
            "SERVICE_KEYS": ",".join(keys),
            "AUTH_URL": self.balancers["auth"].url,
            "IMAGES_URL": self.balancers["images"].url,
        }
        replica = Replica.start(role, variables, self.folder / f"{len(self.replicas)}-{role}")
        self.replicas.append(replica)
        return replica

    def _let_in(self, role: str, replica: Replica) -> None:
        replica.wait_until_ready()
        self.balancers[role].switch(replica.port)
        self.current[role] = replica


@dataclass(frozen=True)
class Failure:
    """A call that was not answered as it must be; status 0 if it was not answered at all.

    One that took about REQUEST_DEADLINE, or follows such ones, tells of a machine that is too busy.
    """

    phase: str
    call: str
    status: int
    reason: str
    seconds: float


@dataclass
class SignedLoad:
    """People who refresh, sign in and register with an image, all the time, through one gateway.

    For a refresh or a sign-in the gateway makes one signed call, to auth; for a registration with an image three: one
    to auth between two to images.

    Attributes:
        phase: what the answers are counted under.
        answered: answers as they must be, by phase and call.
        failures: all others.
    """

    gateway: str
    phase: str = "before"
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[SignedLoad]:
        """Everybody calls while the block runs."""
        # What they do, and how often in a second.
        callers: list[tuple[_Caller, float]] = [
            *((_Refresher(self), 4.0) for _ in range(6)),
            *((_SignIn(self), 0.5) for _ in range(2)),
            (_Registrar(self), 0.7),
        ]
        started = time.monotonic()
        with ThreadPoolExecutor(len(callers)) as threads:
            loops = [threads.submit(self._repeat, caller, 1 / rate) for caller, rate in callers]
            try:
                yield self
            finally:
                self._over.set()
        for loop in loops:
            loop.result()
        self.seconds = time.monotonic() - started

    def count(self, *, call: str | None = None, phase: str | None = None) -> int:
        """The good answers to a call in a phase; to every call, in every phase, if none is given."""
        with self._lock:
            answered = self.answered.copy()
        return sum(n for (p, c), n in answered.items() if call in {None, c} and phase in {None, p})

    def signed_calls(self, phase: str | None = None) -> int:
        """The signed calls between roles that the good answers of a phase took."""
        return self.count(phase=phase) + 2 * self.count(call="register", phase=phase)

    def noted(self, call: str, status: int, reason: str, seconds: float) -> None:
        """Counts an answer, which took some seconds; `reason` says what is wrong with it, if anything."""
        with self._lock:
            if reason:
                self.failures.append(Failure(self.phase, call, status, reason, seconds))
            else:
                self.answered[self.phase, call] += 1

    def _repeat(self, caller: _Caller, pause: float) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            caller.call()
            due = max(due + pause, time.monotonic() - 1)
            self._over.wait(max(0.0, due - time.monotonic()))


class _Caller:
    """Somebody with connections of their own. Nothing is ever sent again, whatever happens to it."""

    def __init__(self, load: SignedLoad) -> None:
        self.load = load
        self.pool = urllib3.PoolManager(retries=False, timeout=20)

    def call(self) -> None:
        raise NotImplementedError

    def post(self, call: str, expected: int, fault: Callable[[Any], str] | None = None, **options: Any) -> Any:
        """The answer to one call of the API, as JSON; None if it is not the expected one, or `fault` finds one."""
        started, status, content = time.monotonic(), 0, None
        try:
            answer = self.pool.request("POST", f"{self.load.gateway}/api/v1/{call}", **options)
            status, content = answer.status, answer.json()
            reason = str(content) if status != expected else fault(content) if fault else ""
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            reason = repr(error)
        self.load.noted(call, status, reason, round(time.monotonic() - started, 2))
        return None if reason else content


class _Refresher(_Caller):
    def __init__(self, load: SignedLoad) -> None:
        super().__init__(load)
        self.token = Person.new().register().sign_in().refresh_token

    def call(self) -> None:
        if grant := self.post("refresh", 200, json={"refresh_token": self.token}):
            self.token = grant["refresh_token"]


class _SignIn(_Caller):
    def __init__(self, load: SignedLoad) -> None:
        super().__init__(load)
        self.person = Person.new().register()

    def call(self) -> None:
        self.post("login", 200, json={"email": self.person.email, "password": self.person.password})


class _Registrar(_Caller):
    def __init__(self, load: SignedLoad) -> None:
        super().__init__(load)
        self.image = picture(64, 64)

    def call(self) -> None:
        person = Person.new()
        fields = {"name": person.name, "email": person.email, "password": person.password}
        self.post("register", 201, self._lacking, fields=fields | {"image": ("me.png", self.image)})

    @staticmethod
    def _lacking(profile: dict[str, Any]) -> str:
        """A registration is answered with 201 also when images refused its part."""
        return "" if profile["image"] and not profile["limited"] else str(profile["notice"])
