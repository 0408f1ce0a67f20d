"""A COMMIT that the database carried out, and did not answer in time."""

from __future__ import annotations

import re
import secrets
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import urllib3
from django.db import OperationalError, connections, transaction
from pytest_django import DjangoDbBlocker

from config.settings import _postgres
from internal import context
from tests.database.conftest import Databases, System
from tests.database.roles import HOST
from tests.running import until

# Of all transactions only that of an account waits for a standby that never comes: it is carried out all the same.
WAIT = """
    CREATE FUNCTION wait_for_nobody() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('synchronous_commit', 'on', true); RETURN NEW; END $$;
    CREATE TRIGGER wait_for_nobody BEFORE INSERT ON credentials_account FOR EACH ROW
    EXECUTE FUNCTION wait_for_nobody();
"""


def test_who_registers_is_not_told_that_nothing_was_done(databases: Databases, system: System) -> None:
    http = urllib3.PoolManager(retries=False, timeout=5)
    url = f"{system.gateway.url}/register"
    page = http.request("GET", url)
    token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page.data)
    assert token
    email = f"{secrets.token_hex(6)}@example.org"
    fields = {
        "csrfmiddlewaretoken": token[1].decode(),
        "name": "Nora",
        "email": email,
        "password": "lantern harbour 9 quiet",
    }
    cookies = "; ".join(cookie.partition(";")[0] for cookie in page.headers.getlist("set-cookie"))
    databases.primary.ask("ALTER ROLE auth SET synchronous_commit = local")
    databases.primary.ask(WAIT, "auth")
    databases.primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    databases.primary.ask("SELECT pg_reload_conf()")
    databases.primary.drop_connections()
    try:
        answer = http.request(
            "POST",
            url,
            body=urllib.parse.urlencode(fields),
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": cookies,
                "Origin": system.gateway.url,
            },
        )
    finally:
        databases.primary.ask("ALTER SYSTEM RESET synchronous_standby_names")
        databases.primary.ask("SELECT pg_reload_conf()")
        until(lambda: databases.primary.ask("SHOW synchronous_standby_names") == [("",)], "nobody is waited for")
        databases.primary.ask("ALTER ROLE auth RESET synchronous_commit")
        databases.primary.ask("DROP FUNCTION wait_for_nobody CASCADE", "auth")
    assert answer.status == 503, answer.status
    assert (email,) in databases.primary.ask("SELECT email FROM credentials_account", "auth")
    words = re.sub(r"<[^>]*>|\s+", " ", answer.data.decode().partition("<main")[2])
    assert "No account has been made" not in words, words
    assert "Your account may have been made all the same" in words, words


@pytest.fixture
def alias(databases: Databases, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A database as a role has it, and one connection to it at a time."""
    alias = "commits"
    address = {
        "NAME": "auth",
        "USER": "auth",
        "PASSWORD": databases.passwords["auth"],
        "HOST": HOST,
        "PORT": str(databases.relay.port),
    }
    entry = _postgres.pooled(address, pool_size=1, application="tests")
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: entry})[alias]
    try:
        with django_db_blocker.unblock():
            yield alias
    finally:
        connections[alias].close_pool()
        del connections[alias], connections.settings[alias]


def commit_while(happens: Callable[[], object], alias: str) -> None:
    """A transaction, with what happens just before its COMMIT."""
    with transaction.atomic(using=alias):
        connections[alias].cursor().execute("CREATE TEMPORARY TABLE kept (number int)")
        happens()


def test_a_request_that_a_commit_has_cost_all_of_its_time_hears_that_its_outcome_is_open(
    databases: Databases, alias: str
) -> None:
    """And not that there is no connection, which would say that nothing was done."""
    with ExitStack() as stack:
        context.begin_request(None)
        stack.callback(context.end_request)
        stack.enter_context(context.deadline_of(1.0))
        with pytest.raises(OperationalError) as caught:
            commit_while(lambda: stack.enter_context(databases.primary.frozen()), alias)
    assert getattr(caught.value.__cause__, "outcome_is_open", False), caught.value
    with transaction.atomic(using=alias):
        connections[alias].cursor().execute("SELECT 1")
