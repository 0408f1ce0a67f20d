"""Where things are on one machine: the roles, their ports, and the files of the state folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_PORT_BASE = 8000
HIGHEST_PORT_BASE = 65535 - 1004
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Role:
    """One process of the running system, as `up` and `status` name it.

    `offset` is added to the port base for the application port; the management port lies 1000 above it.
    PostgreSQL has no management port.
    """

    name: str
    offset: int
    managed: bool = True
    needs_database: bool = False

    @property
    def settings(self) -> str:
        """The settings module of a Django role."""
        return f"config.settings.{self.name}"


POSTGRES = Role("postgres", 432, managed=False)
GATEWAY = Role("gateway", 0)
AUTH = Role("auth", 1, needs_database=True)
IMAGES = Role("images", 2, needs_database=True)
FILES = Role("files", 3)
CONSOLE = Role("console", 4, needs_database=True)
METRICS = Role("metrics of files", 3, managed=False)
"""No role of its own: a process that belongs to files."""

ROLES: dict[str, Role] = {role.name: role for role in (POSTGRES, GATEWAY, AUTH, IMAGES, FILES, CONSOLE)}
DJANGO_ROLES = (GATEWAY, AUTH, IMAGES, CONSOLE)
DATABASES = ("auth", "images")


@dataclass(frozen=True)
class Ports:
    """The ports of every role, derived from one base."""

    base: int = DEFAULT_PORT_BASE

    def application(self, role: Role) -> int:
        """The port on which the role does its work."""
        return self.base + role.offset

    def management(self, role: Role) -> int | None:
        """The port of /livez, /readyz and /metrics; None for PostgreSQL, which has none."""
        return self.base + 1000 + role.offset if role.managed else None

    def url(self, role: Role) -> str:
        """The address of the application port."""
        return f"http://{HOST}:{self.application(role)}"


@dataclass(frozen=True)
class State:
    """The state folder: everything one running system keeps on disk. Paths only; `create` makes the folders."""

    root: Path

    @classmethod
    def default(cls) -> State:
        """The folder named by SEAWALL_STATE, else `.seawall` in the checkout."""
        return cls.at(os.environ.get("SEAWALL_STATE") or PROJECT / ".seawall")

    @classmethod
    def at(cls, path: str | Path) -> State:
        """The folder at `path`, which need not exist; `~` and relative paths are resolved."""
        return cls(Path(path).expanduser().resolve())

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def lock(self) -> Path:
        return self.run / "up.lock"

    @property
    def processes(self) -> Path:
        return self.run / "processes.json"

    @property
    def stamps(self) -> Path:
        return self.run / "stamps.json"

    def environment(self, role: Role) -> Path:
        return self.root / "env" / f"{role.name}.json"

    def log(self, role: Role) -> Path:
        return self.root / "logs" / f"{role.name}.log"

    def static(self, role: Role) -> Path:
        return self.root / "static" / role.name

    def scratch(self, role: Role) -> Path:
        """A folder that the role may fill and that nobody misses afterwards."""
        return self.run / role.name

    def create(self) -> None:
        """Make the folders. Only the owner can look into them; a foreign PostgreSQL user may pass through the root."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for folder in ("env", "logs", "images", "backups", "static", "run"):
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)
        for role in (*DJANGO_ROLES, FILES):
            self.scratch(role).mkdir(mode=0o700, exist_ok=True)
