"""A role starts without what it can do without: it is alive at once, and answers what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import urllib3

from tests.rotation.rolling import HOST, Replica
from tests.running import until

NOWHERE = "http://127.0.0.1:1"
NO_DATABASE = "postgres://nobody:nothing@127.0.0.1:1/nothing"


def probe(replica: Replica, path: str) -> int:
    """The status of an answer of the management port; 0 if there is none."""
    assert replica.process.poll() is None, replica.log.read_text()
    try:
        return urllib3.request("GET", f"http://{HOST}:{replica.port + 1000}{path}", retries=False, timeout=5).status
    except urllib3.exceptions.HTTPError:
        return 0


@pytest.mark.parametrize(("role", "readiness"), [("auth", 503), ("images", 200)])
def test_a_role_starts_without_its_database_and_without_other_roles(role: str, readiness: int, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": NO_DATABASE, "AUTH_URL": NOWHERE}
    replica = Replica.start(role, variables, tmp_path / role)
    try:
        until(lambda: probe(replica, "/livez") == 200, f"{role} is alive", 60)
        until(lambda: probe(replica, "/readyz") == readiness, f"{role} says whether it is ready", 30)
        answer = urllib3.request("GET", f"{replica.url}/internal/v1/nothing", retries=False, timeout=10)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
        replica.stop()
    finally:
        replica.end()
