"""One deadline from the gateway to the statement; the pool of those who have hardly any time; connecting by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import psycopg_pool
import pytest

from config.postgresql.pool import Pool
from config.settings import _postgres
from internal import context
from tests.database.conftest import Databases, System
from tests.database.roles import HOST, LIMIT
from tests.internal.servers import without_room
from tests.running import Person, ask, until

NOTICED = _postgres.CLIENT_CHECK / 1000 + 0.4  # seconds in which the server notices that nobody waits any more
HELD_AT_AUTH = 1.6  # seconds, and less than a statement may last
HURRY = 0.0012  # seconds
STATEMENT_OF_IMAGES = (
    "SELECT count(*) FROM pg_stat_activity WHERE usename = 'images' AND state = 'active' AND wait_event_type = 'Lock'"
)


def test_a_statement_of_a_role_ends_with_the_deadline_that_the_gateway_gave(
    databases: Databases, system: System
) -> None:
    """The gateway asks auth, which takes its time, and then images, whose statement has what is left."""
    person = Person.new()
    fields = {"name": person.name, "email": person.email, "password": person.password}
    assert ask("POST", f"{system.gateway.url}/api/v1/register", json=fields).status == 201
    credentials = {"email": person.email, "password": person.password}
    token = ask("POST", f"{system.gateway.url}/api/v1/login", json=credentials).json["access_token"]
    log = databases.primary.log
    before = log.stat().st_size

    def waits() -> bool:
        return databases.primary.ask(STATEMENT_OF_IMAGES) == [(1,)]

    with databases.primary.locked("images_owner", "images"), ThreadPoolExecutor(1) as threads:
        with databases.primary.locked("credentials_session", "auth"):
            call = threads.submit(ask, "DELETE", f"{system.gateway.url}/api/v1/profile", token=token)
            time.sleep(HELD_AT_AUTH)
        until(waits, "the statement of images waits")
        began = time.monotonic()
        answer = call.result()
        until(lambda: not waits(), "the server has ended the statement", NOTICED)
        lasted = time.monotonic() - began
    told = log.read_bytes()[before:].decode()

    assert (answer.status, answer.json["code"]) == (503, "images_unavailable")
    assert answer.seconds < LIMIT
    assert lasted < _postgres.STATEMENT_TIMEOUT / 1000
    assert "connection to client lost" in told
    assert "statement timeout" not in told
    assert ask("GET", f"{system.gateway.url}/api/v1/profile", token=token).json["email"] == person.email


@pytest.fixture
def pool(databases: Databases) -> Iterator[Pool]:
    """Of two connections, as a role has it, with one of them open."""
    options = {**_postgres.pooled(None, pool_size=2, application="tests")["OPTIONS"]}
    pool = Pool(conninfo=databases.url("auth"), **options.pop("pool"), kwargs=options | {"autocommit": True})
    pool.open()
    try:
        with request_of(2.0):
            asked(pool)
        yield pool
    finally:
        pool.close()


@contextmanager
def request_of(seconds: float) -> Iterator[None]:
    """A request that has so much time."""
    context.begin_request(None)
    try:
        with context.deadline_of(seconds):
            yield
    finally:
        context.end_request()


def asked(pool: Pool) -> None:
    connection = pool.getconn()
    try:
        connection.execute("SELECT 1")
    finally:
        pool.putconn(connection)


def opened(pool: Pool) -> int:
    return pool.get_stats()["connections_num"]


def test_requests_without_time_cost_no_connections(pool: Pool) -> None:
    """What they cost is a statement that was sent, and has no answer yet."""
    before = opened(pool)

    for _ in range(50):
        with request_of(HURRY), suppress(psycopg_pool.PoolTimeout):
            pool.putconn(pool.getconn())

    assert opened(pool) == before
    with request_of(2.0):
        asked(pool)


def test_a_request_without_time_does_not_take_a_silent_server_for_dead(databases: Databases, pool: Pool) -> None:
    """It costs the connection on which the answer is missing; one with enough time has all of them replaced."""
    with request_of(2.0):
        connections = [pool.getconn() for _ in range(2)]
        for connection in connections:
            pool.putconn(connection)
    drained: list[float] = []
    drain = pool.drain
    pool.drain = lambda: drained.append(time.monotonic()) or drain()  # type: ignore[method-assign]
    with databases.primary.frozen():
        began = time.monotonic()
        with request_of(0.1), pytest.raises(psycopg.OperationalError):
            asked(pool)
        assert time.monotonic() - began < 0.6
        assert drained == []
        with request_of(2.0), pytest.raises(psycopg.OperationalError):
            asked(pool)
        assert drained

    def works() -> bool:
        try:
            with request_of(2.0):
                asked(pool)
        except psycopg.OperationalError:
            return False
        return True

    until(works, "the server is asked again")


@contextmanager
def silent_port(databases: Databases, kind: str) -> Iterator[int]:
    if kind == "no room":
        with without_room() as port:
            yield port
        return
    with databases.primary.frozen():
        yield databases.primary.port


@pytest.mark.parametrize("kind", ["no room", "frozen"])
def test_connecting_is_given_up_by_itself(databases: Databases, kind: str) -> None:
    """Where nothing else does it: no request, and no pool."""
    options = {**_postgres.pooled(None, pool_size=2, application="tests")["OPTIONS"]}
    del options["pool"]
    address = {"host": HOST, "user": "auth", "password": databases.passwords["auth"], "dbname": "auth"}
    with silent_port(databases, kind) as port, ExitStack() as stack:
        began = time.monotonic()
        with pytest.raises(psycopg.OperationalError):
            stack.enter_context(psycopg.connect(**address, port=port, **options))
        seconds = time.monotonic() - began
    assert _postgres.CONNECT_TIMEOUT - 0.2 < seconds < _postgres.CONNECT_TIMEOUT + 1.0
