"""A running system, from the outside: what it shows, and what it does when parts of it fall."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from ops.procfs import family, process_stat
from tests.ops.running import Up, answers, manage, processes_of, until
from tests.ops.stored import database_url


@dataclass(frozen=True)
class Frozen:
    """A system of which nginx was frozen."""

    up: Up
    pid: int
    processes: list[int]


@pytest.fixture(scope="module", autouse=True)
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frozen]:
    """Made before the first test, because it takes its time until the hang is noticed; the last test looks at it."""
    with Up.running(tmp_path_factory.mktemp("frozen") / "state", "--only", "files") as up:
        up.until_ready()
        pid = up.pid("files")
        processes = family(pid)
        for one in processes:
            os.kill(one, signal.SIGSTOP)
        yield Frozen(up, pid, processes)
        up.stop()


def test_every_role_is_ready_and_says_so(system: Up) -> None:
    until(lambda: system.manage("status").returncode == 0, "every role is ready")
    result = system.manage("status")
    rows = {line.split()[0]: line.split()[1] for line in result.stdout.splitlines()[1:-1]}
    assert rows == dict.fromkeys(["postgres", "gateway", "auth", "images", "files", "console"], "ready")


def test_memory_of_all_processes_together_stays_small(system: Up) -> None:
    memory = [role["memory"] for role in system.status().values()]
    assert all(isinstance(part, int) and part > 0 for part in memory), memory
    assert sum(part for part in memory if isinstance(part, int)) < 600_000_000


def test_the_addresses_on_the_screen_answer(system: Up) -> None:
    addresses = re.findall(r"^  (?:Portal|API) +(http://\S+)$", system.output, re.MULTILINE)
    assert [urlsplit(address).path for address in addresses] == ["/", "/api/v1/docs"]
    for address in addresses:
        until(lambda: answers(address), f"{address} answers")  # noqa: B023 - called before the next round


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


def test_roles_that_crash_are_started_again_and_it_is_said(system: Up) -> None:
    before = system.status()
    old = {role: family(system.pid(role)) for role in ("gateway", "files")}
    for role in old:
        os.kill(system.pid(role), signal.SIGKILL)
    for role, processes in old.items():
        restarts = int(str(before[role]["restarts"])) + 1
        until(lambda: system.status()[role]["restarts"] == restarts, f"{role} is restarted")  # noqa: B023
        until(lambda: system.status()[role]["ready"], f"{role} is ready again")  # noqa: B023
        after = system.status()[role]
        assert after["last_exit"] == "signal SIGKILL"
        assert not set(processes) & set(family(int(str(after["pid"]))))
        until(lambda: not any(map(_exists, processes)), "nothing of the old one is left")  # noqa: B023
        assert f"{role} fell (signal SIGKILL); it starts again in" in system.output
        until(lambda: f"{role} is ready again" in system.output, "the return is said")  # noqa: B023


def test_what_counts_for_files_belongs_to_it(system: Up) -> None:
    until(lambda: system.status()["files"]["ready"], "files is ready")
    writers = _metrics_writers(system)
    assert len(writers) == 1
    nginx = system.pid("files")
    os.kill(writers[0], signal.SIGKILL)
    until(lambda: "metrics of files fell (signal SIGKILL); it starts again" in system.output, "the fall is told")
    until(lambda: system.status()["files"]["ready"] and _metrics_writers(system) not in ([], writers), "it is back")
    assert system.pid("files") == nginx
    assert system.manage("stop", "files").returncode == 0
    assert _metrics_writers(system) == []
    assert system.manage("start", "files").returncode == 0
    assert len(_metrics_writers(system)) == 1
    assert answers(system.url(1003, "/metrics"))


def test_postgres_stops_alone_and_returns_and_the_others_go_on(system: Up) -> None:
    before = {name: role["pid"] for name, role in system.status().items()}
    assert system.manage("stop", "postgres").stdout == "postgres was ready and is stopped now.\n"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database_url(system.state, "auth"), connect_timeout=2)
    until(lambda: answers(system.url(1000, "/readyz")), "gateway goes on")
    until(lambda: answers(system.url(1002, "/readyz")), "images goes on")
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
    until(lambda: answers(system.url(1004, "/readyz")), "console is ready")


def test_start_of_a_running_role_changes_nothing(system: Up) -> None:
    before = system.pid("files")
    until(lambda: system.status()["files"]["ready"], "files is ready")
    assert system.manage("start", "files").returncode == 0
    assert system.pid("files") == before


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
    status = system.status()

    def environment(role: str) -> bytes:
        return Path(f"/proc/{status[role]['pid']}/environ").read_bytes()

    assert b"DATABASE_URL" not in environment("gateway")
    assert b"KEY_ENCRYPTION_KEYS" not in environment("gateway")
    assert b"KEY_ENCRYPTION_KEYS" not in environment("images")
    for name in ("SECRET_KEY", "SERVICE_KEYS", "DATABASE_URL"):
        assert name.encode() not in environment("files")
        assert name.encode() not in environment("postgres")


def test_status_takes_little_work(system: Up) -> None:
    before = os.times()
    system.manage("status")
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds < 3


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about how `up` behaves as root")
def test_as_root_postgres_runs_under_an_unprivileged_user(system: Up) -> None:
    owner = Path(f"/proc/{system.pid('postgres')}").stat().st_uid
    assert owner != 0
    assert (system.state / "postgres" / "data").stat().st_uid == owner


def test_a_role_that_hangs_is_started_again(frozen: Frozen) -> None:
    up, pid = frozen.up, frozen.pid
    until(lambda: "files fell (no answer at /livez 3 times in a row)" in up.output, "the hang is noticed")
    until(lambda: up.status()["files"]["ready"] and up.pid("files") != pid, "files is ready again")
    assert not any(map(_exists, frozen.processes))


def _metrics_writers(system: Up) -> list[int]:
    mark = str(system.state / "run" / "files" / "metrics").encode()
    return [pid for pid in processes_of(system.state) if mark in Path(f"/proc/{pid}/environ").read_bytes()]


def _exists(pid: int) -> bool:
    stat = process_stat(pid)
    return stat is not None and not stat.zombie
