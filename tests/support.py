"""What the suites need around them, made when first needed: a PostgreSQL, a role's environment, a running system."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ops.postgres import Binaries, Postgres
from ops.unprivileged import find_place
from tests.suites import PYTEST, Suite

PROJECT = Path(__file__).resolve().parents[1]
START_SECONDS = 120
STOP_SECONDS = 20
PUT_BACK_SECONDS = 300  # for a run that is broken off to undo what it has done, on a cluster for one
_GIVES_WAY = 10  # nice
PORT_OFFSETS = (0, 1, 2, 3, 4, 432, 1000, 1001, 1002, 1003, 1004)


class Named(Protocol):
    """A tool that is missing, and the package that brings it."""

    name: str
    package: str


class SurroundingsError(Exception):
    """Something that a suite needs could not be made; the message says what and why."""


@dataclass
class Result:
    """What one suite came to."""

    ok: bool
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    output: str = ""
    figures: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)  # why tests were skipped for a tool that this machine lacks


@dataclass
class System:
    """A running `manage.py up` of the tests' own."""

    state: Path
    port_base: int
    process: subprocess.Popen[bytes]
    output: Path

    def environment(self) -> dict[str, str]:
        """How tests find it."""
        url = "http://127.0.0.1:{}".format
        return {
            "SEAWALL_STATE": str(self.state),
            "SEAWALL_TEST_GATEWAY": url(self.port_base),
            "SEAWALL_TEST_AUTH": url(self.port_base + 1),
            "SEAWALL_TEST_IMAGES": url(self.port_base + 2),
            "SEAWALL_TEST_FILES": url(self.port_base + 3),
            "SEAWALL_TEST_CONSOLE": url(self.port_base + 4),
        }


def _break_off(child: subprocess.Popen[bytes]) -> None:
    """Ends a run of pytest as Ctrl-C does, so that its fixtures put back what they have changed, and waits for that."""
    child.send_signal(signal.SIGINT)
    try:
        child.wait(PUT_BACK_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.terminate()


def _let_others_first(child: subprocess.Popen[bytes]) -> None:
    """Gives a process, with all that it will start, a tenth of the weight that others have."""
    with contextlib.suppress(OSError):  # it may have ended
        os.setpriority(os.PRIO_PROCESS, child.pid, _GIVES_WAY)
    with contextlib.suppress(OSError):  # where Linux weighs sessions against each other, and each child has its own
        Path(f"/proc/{child.pid}/autogroup").write_text(str(_GIVES_WAY))


@dataclass
class Surroundings(contextlib.AbstractContextManager["Surroundings"]):
    """Everything that is made for a run, in one folder that is gone afterwards."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _databases: dict[str, str] = field(default_factory=dict)
    _system: System | None = None
    _static: set[str] = field(default_factory=set)
    _children: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _over: threading.Event = field(default_factory=threading.Event)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for child in list(self._children):  # some are left only when the run is broken off
            _break_off(child)
        self._stack.close()

    def run(self, suite: Suite, options: list[str], *, gives_way: bool = False) -> Result:
        """Runs a suite to its end; with `gives_way` on what the others leave of the processors."""
        environment = {
            name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "SEAWALL_STATE"}
        }
        environment |= {"PYTHONDONTWRITEBYTECODE": "1"} | dict(suite.environment)
        if suite.settings:
            environment |= self._role_environment(suite)
        if suite.commands:
            return self._run_commands(suite, environment, gives_way=gives_way)
        with self._system_for(suite) as system:
            if system is not None:
                environment |= system.environment()
            return self._run_pytest(suite, environment, options, gives_way=gives_way)

    @contextlib.contextmanager
    def _system_for(self, suite: Suite) -> Iterator[System | None]:
        """The running system that a suite uses, if it does: the one that suites share, or its own."""
        if suite.own_system:
            with running_system(self.folder / f"{suite.name}-system", environment=dict(suite.environment)) as system:
                yield system
        else:
            yield self._system_started() if suite.system else None

    def _run_pytest(self, suite: Suite, environment: dict[str, str], options: list[str], *, gives_way: bool) -> Result:
        report = self.folder / f"{suite.name}.xml"
        command = [*PYTEST, suite.path, f"--junitxml={report}", f"--basetemp={self.folder / suite.name}"]
        command += [f"--ds=config.settings.{suite.settings}"] if suite.settings else ["-p", "no:django"]
        if suite.workers:
            command += ["-n", str(suite.workers)]
        if timeout := environment.get("SEAWALL_TEST_TIMEOUT"):
            command += [f"--timeout={timeout}"]
        # Whoever asks pytest for the output wants to read it as it comes.
        code, output = self._run_child([*command, *options], environment, shown="-s" in options, gives_way=gives_way)
        result = _read_report(report)
        result.output = output
        result.ok = code == 0 and result.passed > 0
        if result.lacking and os.environ.get("REQUIRE_ALL", "") not in {"", "0"}:
            result.ok = False
            result.output += "\nREQUIRE_ALL is set, and tests were skipped: " + "; ".join(result.lacking)
        return result

    def _run_commands(self, suite: Suite, environment: dict[str, str], *, gives_way: bool) -> Result:
        result = Result(ok=True)
        for command in suite.commands:
            code, output = self._run_child(command, environment, gives_way=gives_way)
            if code == 0:
                result.passed += 1
            else:
                result.ok = False
                result.failed += 1
                result.output += f"$ {' '.join(command)}\n{output}\n"
        return result

    def _run_child(
        self, command: Sequence[str], environment: dict[str, str], *, shown: bool = False, gives_way: bool = False
    ) -> tuple[int, str]:
        """Runs a command to its end: its exit status and all that it printed, unless that was shown as it came."""
        if self._over.is_set():
            raise SurroundingsError("the run was broken off")
        child = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment,
            stdout=None if shown else subprocess.PIPE,
            stderr=None if shown else subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us alone, and we pass it on once: what tests changed, they put back
        )
        self._children.add(child)
        if gives_way:
            _let_others_first(child)
        try:
            output, _ = child.communicate()
        finally:
            self._children.discard(child)
        return child.returncode, (output or b"").decode(errors="replace")

    def _role_environment(self, suite: Suite) -> dict[str, str]:
        """An environment under which any role's settings can be read."""
        key = f"tests:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        scratch = self.folder / f"{suite.name}-role"
        (scratch / "images").mkdir(parents=True, exist_ok=True)
        databases = {"auth": _NOWHERE, "images": _NOWHERE}
        if suite.database:  # suites of several lanes run at the same time: each makes databases under a name of its own
            own = suite.name.replace("-", "_")
            databases = {name: f"{address}_{own}" for name, address in self._databases.items()}
        environment = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
            "SERVICE_KEYS": key,
            "KEY_ENCRYPTION_KEYS": key,
            "AUTH_URL": "http://127.0.0.1:1",
            "IMAGES_URL": "http://127.0.0.1:1",
            "UPLOADS_URL": "http://files.test:8003",
            "HTTPS_ONLY": "false",
            "IMAGE_ROOT": str(scratch / "images"),
            "STATIC_ROOT": str(self.folder / "static" / str(suite.settings)),
            "DATABASE_URL": databases.get(str(suite.settings), _NOWHERE),
            "AUTH_DATABASE_URL": databases["auth"],
            "IMAGES_DATABASE_URL": databases["images"],
            "LOG_LEVEL": "WARNING",
        }
        if suite.system:
            stored = (self._system_started().state / "env" / f"{suite.settings}.json").read_text()
            environment |= json.loads(stored)
        elif suite.settings in {"gateway", "console"}:
            self._collect_static(str(suite.settings), environment)
        return environment

    def _collect_static(self, role: str, environment: dict[str, str]) -> None:
        with self._lock:
            if role not in self._static:
                self._run_collectstatic(role, environment)
                self._static.add(role)

    def _run_collectstatic(self, role: str, environment: dict[str, str]) -> None:
        command = [
            sys.executable,
            "manage.py",
            "collectstatic",
            "--noinput",
            "-v0",
            f"--settings=config.settings.{role}",
        ]
        finished = subprocess.run(
            command, cwd=PROJECT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if finished.returncode:
            raise SurroundingsError(f"collectstatic failed:\n{finished.stdout.decode(errors='replace')}")

    def start_postgres(self) -> None:
        """Starts the server of the run, whose users may make test databases; it ends with the calling thread."""
        if not self._databases:
            system_id = f"tests-{secrets.token_hex(4)}"
            place = find_place(self.folder / "postgres", system_id, Binaries.embedded())
            server = Postgres(
                place.folder,
                port=free_port(),
                password=secrets.token_urlsafe(24),
                binaries=place.binaries,
                log=self.folder / "postgres.log",
                identity=place.identity,
                durable=False,
            )
            if place.folder.parent != self.folder:
                self._stack.callback(_remove, place.folder)
            self._stack.enter_context(server.running())
            passwords = {name: secrets.token_hex(16) for name in ("auth", "images")}
            server.ensure_databases(passwords, may_create_databases=True)
            self._databases = {
                name: f"postgres://{name}:{password}@127.0.0.1:{server.port}/{name}"
                for name, password in passwords.items()
            }

    def _system_started(self) -> System:
        assert self._system is not None, "start_system comes before the suites that need it"
        return self._system

    def start_system(self) -> None:
        """Starts the running system of the run."""
        self._system = self._stack.enter_context(running_system(self.folder / "system"))


_ADVICE = ("install the package", "run as root")  # what the reason of a skip says when the machine lacks something
_NOWHERE = "postgres://nobody@127.0.0.1:1/nowhere"


@contextlib.contextmanager
def running_system(state: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[System]:
    """A `manage.py up` on free ports with a state folder of its own, Ready on entry and gone on exit.

    `environment` is added to that of this process.
    """
    port_base = free_port_base()
    output = state.with_name(f"{state.name}-output.txt")
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--state", str(state), "--port-base", str(port_base), *options],
            cwd=PROJECT,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not all(_answers(f"http://127.0.0.1:{port_base + 1000 + n}/readyz") for n in range(5)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SurroundingsError(f"`manage.py up` did not become Ready:\n{output.read_text()}")
            time.sleep(0.2)
        yield System(state, port_base, process, output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_base() -> int:
    """A port base of which every port that `up` takes is free."""
    for _ in range(200):
        base = 10_000 + secrets.randbelow(20_000)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for offset in PORT_OFFSETS:
                probe = held.enter_context(socket.socket())
                probe.bind(("127.0.0.1", base + offset))
            return base
    raise SurroundingsError("no free ports were found on the loopback address")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _read_report(report: Path) -> Result:
    result = Result(ok=False)
    if not report.exists():
        return result
    for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - written by our own pytest
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        result.failed += failed
        result.skipped += skipped
        result.passed += total - failed - skipped
        reasons = [str(skipped.get("message")) for skipped in suite.iter("skipped")]
        result.lacking += sorted({reason for reason in reasons if any(advice in reason for advice in _ADVICE)})
        result.figures += [str(each.get("value")) for each in suite.iter("property") if each.get("name") == "figure"]
    return result


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
