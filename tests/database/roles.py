"""Roles that the tests run themselves, with databases of their own, and people who use them without a pause."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from ops.processes import Command, end_now, spawn
from tests.running import PROJECT, Answer, Person, ask, picture, until
from tests.support import free_port_base

HOST = "127.0.0.1"
START_SECONDS = 60.0
LIMIT = 3.0  # seconds in which a call through the gateway answers, whatever is the matter
UPLOAD_LIMIT = 15.0  # the same for an upload
RECOVERY = 5.0  # seconds in which everything works again, once the database does
WORKERS, THREADS = 2, 8  # gunicorn's defaults here


class Role:
    """One role under gunicorn. It may be started before its database is there."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        port = free_port_base()
        self.name = name
        self.url = f"http://{HOST}:{port}"
        self.management = f"http://{HOST}:{port + 1000}"
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = Command(
            (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "config.wsgi"),
            log=self.log,
            environment={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": f"config.settings.{name}",
                "BIND": f"{HOST}:{port}",
                "MANAGEMENT_BIND": f"{HOST}:{port + 1000}",
                "PROMETHEUS_MULTIPROC_DIR": str(folder / f"{name}-metrics"),
                "LOG_LEVEL": "INFO",
                **environment,
            },
            cwd=PROJECT,
        )

    def start(self) -> None:
        """Starts it. Call it from the main thread: it ends with its starter."""
        self._process = spawn(self._command)

    def end(self) -> None:
        """Ends every process of it."""
        if self._process is not None:
            end_now(self._process)
            self._process.wait()

    def lives(self) -> bool:
        """Whether its management port says so."""
        return self._status("/livez") == 200

    def is_ready(self) -> bool:
        """Whether its management port says so."""
        return self._status("/readyz") == 200

    def processes(self) -> list[int]:
        """Its processes: none of them may have been replaced in the end."""
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, path.read_text().split())]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for a condition, as long as it runs."""

        def met() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()
            return condition()

        until(met, f"{self.name} {what}; its log: {self.log}", START_SECONDS)

    def _status(self, path: str) -> int:
        try:
            return ask("GET", self.management + path, seconds=5).status
        except urllib3.exceptions.HTTPError:
            return 0


@dataclass(frozen=True)
class Event:
    """One call of the public API: when it began (monotonic s), how long it took, and what came of it."""

    call: str
    began: float
    seconds: float
    status: int
    code: str


@dataclass
class Load:
    """People who register, ask for their sessions, list their images and upload some, all the time.

    Attributes:
        events: every answer.
        accounts: the ids of accounts whose registration was acknowledged.
        images: the ids of images whose upload was acknowledged.
    """

    gateway: str
    person: Person
    events: list[Event] = field(default_factory=list)
    accounts: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    CALLS = ("register", "sessions", "list", "upload")

    @contextmanager
    def running(self) -> Iterator[Load]:
        """Everybody calls while the block runs."""
        loops = [self._register, self._sessions, self._list, self._upload]
        with ThreadPoolExecutor(len(loops)) as threads:
            done = [threads.submit(self._repeat, loop) for loop in loops]
            try:
                yield self
            finally:
                self._over.set()
        for each in done:
            each.result()

    def succeeded_since(self, moment: float) -> dict[str, float]:
        """For each kind of call, when the first of those that began after `moment` was answered well."""
        found: dict[str, float] = {}
        for event in list(self.events):
            if event.began >= moment and event.status < 300:
                found.setdefault(event.call, event.began + event.seconds)
        return found

    def wait_for_all(self, since: float, seconds: float) -> None:
        """Waits until every kind of call that began after `since` has been answered well once."""
        while set(self.succeeded_since(since)) != set(self.CALLS):
            late = time.monotonic() > since + seconds
            assert not late, f"not within {seconds:g} s; last of all: {self.events[-12:]}"
            time.sleep(0.05)

    def failures(self, since: float = 0.0, before: float = float("inf")) -> list[Event]:
        """Calls that began in that time and were not answered well."""
        return [event for event in list(self.events) if since <= event.began < before and event.status >= 300]

    def _repeat(self, loop: Callable[[], None]) -> None:
        while not self._over.is_set():
            loop()
            self._over.wait(0.1)

    def _register(self) -> None:
        someone = Person.new()
        registration = {"name": someone.name, "email": someone.email, "password": someone.password}
        if answer := self._call("register", "POST", "/register", json=registration):
            self.accounts.append(answer.json["id"])

    def _sessions(self) -> None:
        self._call("sessions", "GET", "/sessions", token=self.person.access_token)

    def _list(self) -> None:
        self._call("list", "GET", "/images", token=self.person.access_token)

    def _upload(self) -> None:
        form = {"image": ("photo.png", picture(32, 32))}
        if answer := self._call("upload", "POST", "/images", form=form, token=self.person.access_token):
            self.images.append(answer.json["id"])

    def _call(self, call: str, method: str, path: str, **options: Any) -> Answer | None:
        began = time.monotonic()
        answer = ask(method, f"{self.gateway}/api/v1{path}", **options)
        code = "" if answer.status < 300 else answer.json["code"]
        self.events.append(Event(call, began, answer.seconds, answer.status, code))
        return answer if answer.status < 300 else None


def at_once(count: int, call: Callable[[], Answer]) -> list[Answer]:
    """The answers to as many calls at the same moment."""
    start = threading.Barrier(count)

    def one(_: int) -> Answer:
        start.wait()
        return call()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))
