"""The database hangs, stops, loses its connections, is replaced: answers in time, nothing lost, no restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.database.conftest import Databases, System
from tests.database.roles import LIMIT, RECOVERY, THREADS, UPLOAD_LIMIT, WORKERS, Event, Load, Role, at_once
from tests.running import Answer, ask, until

FROZEN_SECONDS = 8.0  # longer than anything waits for the database
UNAVAILABLE = {"auth_unavailable", "images_unavailable"}
GRACE = 1.0  # seconds beside the deadline, for a machine that does other things, too; the server's own limit is 2 s
EVERYBODY = WORKERS * THREADS
ACKNOWLEDGED = {"auth": "SELECT id::text FROM credentials_account", "images": "SELECT id::text FROM images_image"}


def refused_in_time(events: list[Event]) -> None:
    """Each of them was told in time, in the words of the contract, that it did not work."""
    for event in events:
        assert (event.status, event.code in UNAVAILABLE) == (503, True), event


def nothing_lost(databases: Databases, load: Load) -> None:
    """What was acknowledged is there."""
    assert load.accounts
    assert load.images
    for name, ids in (("auth", load.accounts), ("images", load.images)):
        stored = {row[0] for row in databases.primary.ask(ACKNOWLEDGED[name], name)}
        assert set(ids) - stored == set(), name


def recovers(load: Load, since: float) -> None:
    """Everything works within RECOVERY, and goes on working."""
    load.wait_for_all(since, RECOVERY)
    settled = since + RECOVERY
    until(lambda: set(load.succeeded_since(settled)) == set(load.CALLS), "everything goes on working", RECOVERY + 10)
    assert load.failures(since=settled) == []
    for event in load.events:
        assert event.seconds < (UPLOAD_LIMIT if event.call == "upload" else LIMIT), event


def call(role: Role, system: System, milliseconds: int = 2800) -> Answer:
    """One call of a person at auth or images that needs the database."""
    path = {"auth": "sessions", "images": "images"}[role.name]
    headers = {"X-Deadline-Ms": str(milliseconds)}
    return ask("GET", f"{role.url}/internal/v1/{path}", token=system.person.access_token, headers=headers)


@contextmanager
def alive(system: System) -> Iterator[None]:
    """Before and after the block every role says that it lives."""
    assert all(role.lives() for role in system.roles)
    yield
    assert all(role.lives() for role in system.roles)


UNSERVED = {
    "database_unavailable",
    "busy",  # while every thread waits for the database
    "auth_unavailable",  # at images, in a process that has not got the keys of tokens yet
}


@pytest.fixture
def followed(databases: Databases) -> None:
    """A standby has whatever is acknowledged."""
    databases.let_follow()


def test_a_database_that_hangs_holds_nobody(databases: Databases, system: System, load: Load) -> None:
    with databases.primary.frozen(), alive(system):
        frozen = time.monotonic()
        while time.monotonic() < frozen + FROZEN_SECONDS:
            for role in (system.auth, system.images):
                for answer in at_once(EVERYBODY, lambda role=role: call(role, system)):
                    assert answer.status == 503
                    assert answer.json["code"] in UNSERVED
                    assert answer.seconds < LIMIT
            with alive(system):
                assert not system.auth.is_ready()
                assert system.images.is_ready()
                assert system.gateway.is_ready()
        thawed = time.monotonic()

    recovers(load, thawed)

    refused_in_time(load.failures(since=frozen, before=thawed))
    assert load.failures(since=frozen, before=thawed)
    nothing_lost(databases, load)
    until(system.auth.is_ready, "auth is ready", RECOVERY)
    for role in (system.auth, system.images):
        assert [answer.status for answer in at_once(EVERYBODY, lambda role=role: call(role, system))] == [
            200
        ] * EVERYBODY


def test_a_statement_ends_with_the_deadline_of_its_request(databases: Databases, system: System) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'auth'"
    log = databases.primary.log
    with databases.primary.locked("credentials_session", "auth"):
        before = log.stat().st_size
        answers = at_once(EVERYBODY, lambda: call(system.auth, system, milliseconds=700))
        until(lambda: databases.primary.ask(waiting) == [(0,)], "nothing waits at the server")
        told = log.read_bytes()[before:].decode()

    for answer in answers:
        assert answer.status == 503
        assert answer.json["code"] in {"database_unavailable", "deadline_exceeded"}  # it began, or waited for a thread
        assert answer.seconds < 0.7 + GRACE
    # Who waited had gone, and the server has noticed it by itself: its own limit was not needed.
    assert "connection to client lost" in told
    assert "statement timeout" not in told
    assert [answer.status for answer in at_once(EVERYBODY, lambda: call(system.auth, system))] == [200] * EVERYBODY


def test_a_database_that_stops_comes_back(databases: Databases, system: System, load: Load) -> None:
    databases.primary.kill()
    stopped = time.monotonic()
    until(lambda: load.failures(since=stopped), "the outage is felt")
    with alive(system):
        until(lambda: not system.auth.is_ready(), "auth is not ready")
    databases.primary.start()
    back = time.monotonic()

    recovers(load, back)

    refused_in_time(load.failures(since=stopped, before=back))
    nothing_lost(databases, load)
    until(system.auth.is_ready, "auth is ready", RECOVERY)


def test_connections_that_are_dropped_are_replaced(databases: Databases, load: Load) -> None:
    for _ in range(5):
        began = time.monotonic()
        assert databases.primary.drop_connections()
        load.wait_for_all(began, RECOVERY)

    recovers(load, time.monotonic())

    refused_in_time(load.failures())
    nothing_lost(databases, load)


@pytest.mark.parametrize("silent", [False, True], ids=["killed", "silent"])
@pytest.mark.usefixtures("followed")
def test_a_standby_takes_over(databases: Databases, system: System, load: Load, silent: bool) -> None:
    load.wait_for_all(time.monotonic(), RECOVERY)
    lost = databases.primary
    with lost.frozen() if silent else alive(system):  # as after the loss of its machine: nothing says that it is gone
        if not silent:
            lost.kill()
        gone = time.monotonic()
        until(lambda: load.failures(since=gone), "the failure is felt")
        databases.take_over()
        back = time.monotonic()

        recovers(load, back)
    lost.kill()

    refused_in_time(load.failures(since=gone))
    nothing_lost(databases, load)


@pytest.mark.usefixtures("followed")
def test_what_was_the_primary_is_left_when_it_can_only_be_read(databases: Databases, load: Load) -> None:
    before = databases.primary
    before.make_read_only(on=True)
    turned = time.monotonic()
    until(lambda: load.failures(since=turned), "nothing can be written")
    databases.take_over()
    back = time.monotonic()

    recovers(load, back)

    refused_in_time(load.failures(since=turned))
    nothing_lost(databases, load)
    # Nobody is left at the old one, which still lets everybody in.
    connected = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('auth', 'images')"
    until(lambda: before.ask(connected) == [(0,)], "nobody stays with the old one")
