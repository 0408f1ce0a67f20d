"""The running system of the run, as the suites `contracts`, `e2e` and `outage` find and use it."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE = 15.0  # seconds that anything may take on a loaded machine before a test gives up on it
ROLES = ("gateway", "auth", "images", "files", "console")

T = TypeVar("T")


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise pytest.UsageError(f"{name} is not set: run this suite with `python -m tests`") from None


def url(role: str) -> str:
    """The base address of a role's application port."""
    return _variable(f"SEAWALL_TEST_{role.upper()}")


def management_url(role: str) -> str:
    """The base address of a role's management port."""
    base, _, port = url(role).rpartition(":")
    return f"{base}:{int(port) + 1000}"


def port_of(address: str) -> int:
    """The port of a base address."""
    return int(address.rpartition(":")[2])


def state() -> Path:
    """The state folder."""
    return Path(_variable("SEAWALL_STATE"))


def environment_of(role: str) -> dict[str, str]:
    """The environment that a role was started with."""
    values: dict[str, str] = json.loads((state() / "env" / f"{role}.json").read_text())
    return values


def log_of(role: str) -> Path:
    """The log file of a role."""
    return state() / "logs" / f"{role}.log"


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Waits for the condition to be true, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return result


def manage(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command of manage.py for the running system, to its end."""
    surroundings = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    # What the suites get from a role's environment would come before what `up` has written for another role.
    for role in ("gateway", "auth", "images", "console"):
        for name in environment_of(role):
            surroundings.pop(name, None)
    for name in ("DATABASE_URL", "AUTH_DATABASE_URL", "IMAGES_DATABASE_URL", "KEY_ENCRYPTION_KEYS", "IMAGE_ROOT"):
        surroundings.pop(name, None)
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=PROJECT,
        env=surroundings | {"SEAWALL_STATE": str(state())} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def inside(role: str, code: str, environment: Mapping[str, str] | None = None) -> Any:
    """Runs code with a role's own settings and databases, in a process of its own; what it prints, read as JSON."""
    finished = manage(
        "shell", "--no-imports", f"--settings=config.settings.{role}", "-c", code, environment=environment
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout) if finished.stdout.strip() else None


def status() -> dict[str, dict[str, Any]]:
    """What `manage.py status` says, by role."""
    document = json.loads(manage("status", "--json").stdout)
    return {role["role"]: role for role in document["roles"]}


def picture(
    width: int = 320, height: int = 240, *, kind: str = "PNG", noise: bool = False, color: str | None = None
) -> bytes:
    """An image file of its own kind each time. With `noise` it does not compress: about 3 bytes a pixel as PNG."""
    if noise:
        image = Image.frombytes("RGB", (width, height), secrets.token_bytes(3 * width * height))
    else:
        image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
        tint = Image.new("RGB", (width, height), color or f"#{secrets.token_hex(3)}")
        image = Image.blend(image, tint, 0.6)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Answer:
    """What came back from one HTTP request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


_pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30))


def ask(
    method: str,
    address: str,
    *,
    json: Any = None,
    form: Mapping[str, Any] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
    seconds: float = 30,
) -> Answer:
    """One HTTP request, in JSON or as a multipart form."""
    sent = dict(headers or {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    options: dict[str, Any] = {"json": json} if json is not None else {"fields": form} if form else {"body": body}
    started = time.monotonic()
    response = _pool.request(method, address, headers=sent, redirect=False, timeout=seconds, **options)
    return Answer(response.status, response.headers, response.data, time.monotonic() - started)


@dataclass
class Person:
    """Somebody with an account, who may be signed in at the API."""

    name: str
    email: str
    password: str
    id: str = ""
    access_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)

    @classmethod
    def new(cls, name: str = "Anna Berg") -> Person:
        """Somebody without an account yet."""
        return cls(name, f"anna-{secrets.token_hex(8)}@example.org", f"lantern {secrets.token_hex(6)} harbour")

    def register(self, image: bytes | None = None) -> Person:
        """Makes the account through the API."""
        fields: dict[str, Any] = {"name": self.name, "email": self.email, "password": self.password}
        if image is not None:
            fields["image"] = ("me.png", image)
        answer = ask("POST", f"{url('gateway')}/api/v1/register", form=fields)
        assert answer.status == 201, answer.body
        self.id = answer.json["id"]
        return self

    def sign_in(self) -> Person:
        """Starts a session through the API."""
        credentials = {"email": self.email, "password": self.password}
        answer = ask("POST", f"{url('gateway')}/api/v1/login", json=credentials)
        assert answer.status == 200, answer.body
        self.access_token, self.refresh_token = answer.json["access_token"], answer.json["refresh_token"]
        return self

    def call(self, method: str, path: str, **options: Any) -> Answer:
        """One call of the API with the person's access token."""
        return ask(method, f"{url('gateway')}/api/v1{path}", token=self.access_token, **options)

    def upload(self, image: bytes | None = None) -> dict[str, Any]:
        """Stores an image through the API, and returns what the API says about it."""
        answer = self.call("POST", "/images", form={"image": ("photo.png", image or picture())})
        assert answer.status == 201, answer.body
        stored: dict[str, Any] = answer.json
        return stored
