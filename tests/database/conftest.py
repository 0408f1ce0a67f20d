"""Two PostgreSQL servers, one of which follows the other; gateway, auth and images, which know neither by its port."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.postgres import Binaries
from ops.unprivileged import find_place
from tests.database.roles import HOST, RECOVERY, Load, Role
from tests.database.servers import Server
from tests.relay import Relay
from tests.running import PROJECT, Person, ask, until

DATABASES = ("auth", "images")


@dataclass
class Databases:
    """Where the databases are: the servers, and the one address under which whoever uses them knows the primary."""

    primary: Server
    spare: Server
    relay: Relay
    passwords: dict[str, str]

    def url(self, name: str, database: str | None = None) -> str:
        """The address of a database for its user `name`."""
        return f"postgres://{name}:{self.passwords[name]}@{HOST}:{self.relay.port}/{database or name}"

    def take_over(self) -> None:
        """The spare, which has followed, becomes the primary under the old address."""
        self.spare.promote()
        self.relay.switch(self.spare.port)
        self.primary, self.spare = self.spare, self.primary

    def let_follow(self) -> None:
        """The spare follows the primary, and what is acknowledged from now on, it has."""
        self.spare.follow(self.primary)
        self.spare.start()
        self.primary.wait_for_standby()

    def end(self) -> None:
        self.primary.kill()
        self.spare.kill()
        self.relay.close()


def console_environment(databases: Databases, **names: str) -> dict[str, str]:
    """That of the console's commands. `names` are databases instead of the usual ones."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings.console",
        "SEAWALL_STATE": "/nowhere",
        **{f"{name.upper()}_DATABASE_URL": databases.url(name, names.get(name)) for name in DATABASES},
    }


def migrate(databases: Databases, alias: str, *options: str, **names: str) -> subprocess.Popen[str]:
    """`manage.py migrate` of a database, begun."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate", "--no-input", "--database", alias, *options],
        cwd=PROJECT,
        env=console_environment(databases, **names),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """The servers: the primary with empty databases, the spare not made yet."""
    system_id = f"tests-{secrets.token_hex(4)}"
    inside = tmp_path_factory.mktemp("servers") / "postgres"
    place = find_place(inside, system_id, Binaries.embedded())
    with ExitStack() as stack:
        if place.folder != inside:
            stack.callback(_remove, place.folder)
        password = secrets.token_hex(16)
        first, second = (
            Server(place.folder / name, password=password, binaries=place.binaries, identity=place.identity)
            for name in ("first", "second")
        )
        found = Databases(first, second, Relay(first.port), {name: secrets.token_hex(16) for name in DATABASES})
        stack.callback(found.end)
        first.make()
        first.start()
        first.furnish(found.passwords)
        yield found


def _remove(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@dataclass
class System:
    """The three roles of the tests, and somebody who is signed in."""

    gateway: Role
    auth: Role
    images: Role
    person: Person

    @property
    def roles(self) -> tuple[Role, ...]:
        return (self.gateway, self.auth, self.images)

    def load(self) -> Load:
        """People who are about to use it."""
        return Load(self.gateway.url, self.person)


@pytest.fixture(scope="session")
def started(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Role, Role, Role]]:
    """Gateway, auth and images, started when their databases had no tables yet."""
    folder = tmp_path_factory.mktemp("roles")
    store = folder / "store"
    store.mkdir()
    common = {"IMAGE_ROOT": str(store)}
    auth = Role("auth", folder, common | {"DATABASE_URL": databases.url("auth")})
    images = Role("images", folder, common | {"DATABASE_URL": databases.url("images"), "AUTH_URL": auth.url})
    gateway = Role("gateway", folder, common | {"AUTH_URL": auth.url, "IMAGES_URL": images.url})
    try:
        for role in (gateway, auth, images):
            role.start()
        for role in (gateway, auth, images):
            role.wait_until(role.lives, "lives")
        yield gateway, auth, images
    finally:
        for role in (gateway, auth, images):
            role.end()


@pytest.fixture(scope="session")
def system(databases: Databases, started: tuple[Role, Role, Role]) -> System:
    """The roles with their tables, ready."""
    for alias in ("default", "images"):
        process = migrate(databases, alias)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    gateway, auth, images = started
    for role in started:
        role.wait_until(role.is_ready, "is ready")
    person = Person.new()
    registration = {"name": person.name, "email": person.email, "password": person.password}

    def registered() -> bool:
        return ask("POST", f"{gateway.url}/api/v1/register", json=registration).status in {201, 409}

    until(registered, "somebody can register", RECOVERY + 10)
    credentials = {"email": person.email, "password": person.password}
    grant = ask("POST", f"{gateway.url}/api/v1/login", json=credentials).json
    person.access_token, person.refresh_token = grant["access_token"], grant["refresh_token"]
    return System(gateway, auth, images, person)


@pytest.fixture
def unchanged(system: System) -> Iterator[None]:
    """Whatever the test does, no process of a role was restarted for it."""
    before = {role.name: role.processes() for role in system.roles}
    yield
    assert {role.name: role.processes() for role in system.roles} == before


@pytest.fixture
def load(system: System, unchanged: None) -> Iterator[Load]:
    """People who use the system while the test runs; everything works when it begins."""
    with system.load().running() as load:
        load.wait_for_all(time.monotonic(), 15)
        yield load
