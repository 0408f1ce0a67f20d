"""A running system, from the outside: what it shows, and what it does when parts of it fall."""

from __future__ import annotations

import os
import re
import signal
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from ops.procfs import family
from tests.ops.running import Up, answers, manage, until
from tests.ops.stored import database_url


def test_every_role_is_ready_and_says_so(system: Up) -> None:
    result = system.manage("status")
    assert result.returncode == 0, result.stderr
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:-1]}
    assert rows == dict.fromkeys(["postgres", "gateway", "auth", "images", "files", "console"], "ready")


def test_memory_of_all_processes_together_stays_small(system: Up) -> None:
    memory = [role["memory"] for role in system.status().values()]
    assert all(isinstance(part, int) and part > 0 for part in memory), memory
    assert sum(part for part in memory if isinstance(part, int)) < 600_000_000


def test_the_addresses_on_the_screen_answer(system: Up) -> None:
    addresses = re.findall(r"^  (?:Portal|API) +(http://\S+)$", system.output, re.MULTILINE)
    assert [urlsplit(address).path for address in addresses] == ["/", "/api/v1/docs"]
    assert all(answers(address) for address in addresses)


def test_a_second_up_of_the_same_folder_is_told_about_the_first(system: Up) -> None:
    result = manage("up", "--state", str(system.state), "--port-base", str(system.base))
    assert result.returncode == 1
    assert f"Another `up` of {system.state} is running (process {system.process.pid})" in result.stderr


def test_a_taken_port_is_named_with_its_holder_and_a_way_out(system: Up, tmp_path: object) -> None:
    holder = system.pid("files")
    result = manage("up", "--state", f"{tmp_path}/state", "--port-base", str(system.base), "--only", "files")
    assert result.returncode == 1
    assert f"Port {system.base + 3}, wanted by files, is held by process {holder} (nginx" in result.stderr
    assert re.search(r'make up ARGS="--port-base \d+"', result.stderr)


@pytest.mark.parametrize("role", ["gateway", "files"])
def test_a_role_that_crashes_is_started_again_and_it_is_said(system: Up, role: str) -> None:
    before = system.status()[role]
    pid = before["pid"]
    assert isinstance(pid, int)
    old = family(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: system.status()[role]["restarts"] == int(str(before["restarts"])) + 1, f"{role} is restarted")
    until(lambda: system.status()[role]["ready"], f"{role} is ready again")
    after = system.status()[role]
    assert after["last_exit"] == "signal SIGKILL"
    assert not set(old) & set(family(int(str(after["pid"]))))
    until(lambda: not any(os.path.exists(f"/proc/{one}") for one in old), "nothing of the old one is left")
    assert f"{role} fell (signal SIGKILL); it starts again in" in system.output
    until(lambda: f"{role} is ready again" in system.output, "the return is said")


def test_a_role_that_hangs_is_started_again(system: Up) -> None:
    pid = system.pid("files")
    for one in family(pid):
        os.kill(one, signal.SIGSTOP)
    until(lambda: "files fell (no answer at /livez 3 times in a row)" in system.output, "the hang is noticed")
    until(lambda: system.status()["files"]["ready"] and system.pid("files") != pid, "files is ready again")


def test_postgres_stops_alone_and_returns_and_the_others_go_on(system: Up) -> None:
    before = {name: role["pid"] for name, role in system.status().items()}
    assert system.manage("stop", "postgres").stdout == "postgres was ready and is stopped now.\n"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database_url(system.state, "auth"), connect_timeout=2)
    assert answers(system.url(1000, "/readyz"))
    assert answers(system.url(1002, "/readyz"))
    until(lambda: system.manage("status").returncode == 1, "status tells by its exit status")
    assert system.status()["postgres"]["state"] == "stopped"
    assert system.manage("start", "postgres").stdout == "postgres was stopped and is ready now.\n"
    until(lambda: system.manage("status").returncode == 0, "everything is ready again")
    after = {name: role["pid"] for name, role in system.status().items()}
    assert {name for name in before if before[name] != after[name]} == {"postgres"}


def test_restart_gives_a_role_a_new_process(system: Up) -> None:
    before = system.pid("console")
    assert system.manage("restart", "console").returncode == 0
    assert system.pid("console") != before
    assert answers(system.url(1004, "/readyz"))


def test_start_of_a_running_role_changes_nothing(system: Up) -> None:
    assert system.manage("start", "files").stdout == "files is ready, as it was before.\n"


def test_logs_show_the_end_of_a_role_and_follow_it(system: Up) -> None:
    result = system.manage("logs", "postgres", "-n", "1000")
    assert result.returncode == 0
    assert "database system is ready to accept connections" in result.stdout
    assert len(system.manage("logs", "postgres", "-n", "2").stdout.splitlines()) == 2


@pytest.mark.parametrize("owner", ["auth", "images"])
def test_a_database_user_has_no_privilege_and_reaches_no_other_database(system: Up, owner: str) -> None:
    url = database_url(system.state, owner)
    with psycopg.connect(url) as connection:
        rights = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = current_user"
        ).fetchone()
        owned = connection.execute(
            "SELECT datname FROM pg_database WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user)"
        ).fetchall()
    assert rights == (False, False, False, False, False)
    assert owned == [(owner,)]
    for other in {"auth", "images", "postgres", "template1"} - {owner}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url.rpartition("/")[0] + f"/{other}")


def test_a_wrong_password_does_not_open_a_database(system: Up) -> None:
    parts = urlsplit(database_url(system.state, "auth"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=parts.hostname, port=parts.port, user="auth", dbname="auth", password="guessed")


def test_no_role_has_more_of_the_secrets_than_it_needs(system: Up) -> None:
    def environment(role: str) -> bytes:
        with open(f"/proc/{system.pid(role)}/environ", "rb") as file:
            return file.read()

    assert b"DATABASE_URL" not in environment("gateway")
    assert b"KEY_ENCRYPTION_KEYS" not in environment("gateway")
    assert b"KEY_ENCRYPTION_KEYS" not in environment("images")
    for name in ("SECRET_KEY", "SERVICE_KEYS", "DATABASE_URL"):
        assert name.encode() not in environment("files")
        assert name.encode() not in environment("postgres")


def test_time_of_status_is_short(system: Up) -> None:
    begun = time.monotonic()
    assert system.manage("status").returncode == 0
    assert time.monotonic() - begun < 5
