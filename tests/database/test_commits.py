"""A COMMIT that the database carried out, and did not answer in time."""

from __future__ import annotations

import re
import secrets
import urllib.parse

import urllib3

from tests.database.conftest import Databases, System
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
    assert b"No account has been made" not in answer.data
