"""From the first start to the last process: what `up` leaves, finds again, and refuses."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ops.layout import State
from ops.secrets import Secrets
from ops.unprivileged import OUTSIDE
from tests.ops.running import (
    PROJECT,
    FirstStart,
    Up,
    clean_environment,
    manage,
    processes_of,
    system_id,
    until,
)
from tests.ops.stored import database_url
from tests.support import free_port_base

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it is about how `up` behaves as root: run as root")


def test_the_first_start_brings_everything_up_and_ctrl_c_takes_all_of_it_down(
    first: FirstStart, record_testsuite_property: Callable[[str, object], None]
) -> None:
    record_testsuite_property(
        "figure", f"first start: ready after {first.ready_seconds:.1f} s, stopped within {first.stop_seconds:.1f} s"
    )
    assert first.exit_status == 0
    for role in ("postgres", "gateway", "auth", "images", "files", "console"):
        assert f"  {role}: ready" in first.output
    assert "Everything has stopped" in first.output


def test_secrets_are_for_the_owner_alone(first: FirstStart) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(first.state / "secrets.json") == 0o600
    assert mode(first.state / "env") == 0o700
    assert {path.name: mode(path) for path in (first.state / "env").iterdir()} == {
        f"{role}.json": 0o600 for role in ("gateway", "auth", "images", "console")
    }
    assert mode(first.state / "logs") == 0o700


def test_no_secret_is_in_the_output_or_in_a_log(first: FirstStart) -> None:
    stored = json.loads((first.state / "secrets.json").read_text())
    values = [
        *stored["secret_keys"].values(),
        *stored["database_passwords"].values(),
        stored["postgres_password"],
        *(stored[name].partition(":")[2] for name in ("service_keys", "key_encryption_keys")),
    ]
    texts = [first.output, *(log.read_text() for log in (first.state / "logs").iterdir())]
    assert not [value for value in values for text in texts if value in text]


def test_two_systems_have_different_secrets(first: FirstStart, folder: Path) -> None:
    state = State.at(folder)
    state.create()
    Secrets.load_or_generate(state)
    mine, theirs = (json.loads((root / "secrets.json").read_text()) for root in (folder, first.state))
    assert not set(_leaves(mine)) & set(_leaves(theirs))


def test_a_killed_up_leaves_no_process_and_the_next_ones_find_the_data(first: FirstStart) -> None:
    with Up.running(first.state) as up:
        up.until_ready()
        assert "tables: up to date" in up.output
        assert "static files of gateway: up to date" in up.output
        with psycopg.connect(database_url(first.state, "auth")) as connection:
            connection.execute("CREATE TABLE kept (number integer)")
            connection.execute("INSERT INTO kept VALUES (1)")
        up.stop(signal.SIGKILL)
        assert up.process.returncode == -signal.SIGKILL
    for number, rows in ((signal.SIGTERM, 1), (signal.SIGHUP, 2)):
        with Up.running(first.state, "--only", "postgres", "files") as up:
            up.until_ready()
            with psycopg.connect(database_url(first.state, "auth")) as connection:
                assert connection.execute("SELECT count(*) FROM kept").fetchone() == (rows,)
                connection.execute("INSERT INTO kept VALUES (2)")
            up.stop(number)
            assert up.process.returncode == 0


def test_a_second_signal_ends_a_process_that_does_not_want_to_stop(folder: Path) -> None:
    with Up.running(folder / "state", "--only", "files", command=_with_an_hour_of_patience()) as up:
        up.until_ready()
        os.kill(up.pid("files"), signal.SIGSTOP)
        up.process.send_signal(signal.SIGINT)
        until(lambda: "Stopping." in up.output, "it takes everything down")
        assert up.process.poll() is None
        up.stop(signal.SIGINT)
        assert "Everything has stopped" in up.output


def test_a_note_that_cannot_be_written_costs_no_process(folder: Path) -> None:
    (folder / "state" / "run" / "processes.json").mkdir(parents=True)
    with Up.running(folder / "state", "--only", "files") as up:
        up.until_ready()
        pid = up.pid("files")
        assert f"files runs as process {pid}, which could not be noted for the next start" in up.output
        assert up.status()["files"]["restarts"] == 0
        masters = [one for one in processes_of(up.state) if os.getpgid(one) == one and one != up.process.pid]
        assert len(masters) == 2, "nginx, and what writes its metrics"
        assert pid in masters
        up.stop()
        assert up.process.returncode == 0


def test_a_role_that_cannot_start_is_named_with_the_end_of_its_log(first: FirstStart) -> None:
    result = manage(
        *("up", "--state", str(first.state), "--port-base", str(free_port_base()), "--only", "gateway"),
        environment=clean_environment(WORKERS="none"),
    )
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: gateway ended (exit status 1) before it was ready. The end of")
    assert "Traceback" not in result.stderr
    assert "WORKERS: it must be a whole number" in result.stderr


def test_a_port_held_by_somebody_else_is_named(folder: Path) -> None:
    base = free_port_base()
    with socket.create_server(("127.0.0.1", base + 432)):
        result = manage("up", "--state", str(folder / "state"), "--port-base", str(base), "--only", "postgres")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"Port {base + 432}, wanted by postgres, is held by process {os.getpid()} (" in result.stderr
    assert not (folder / "state" / "postgres" / "data").exists()


def test_a_state_folder_may_lie_deep_and_have_spaces_in_its_name(folder: Path) -> None:
    state = folder.joinpath(*["a rather long name of a folder"] * 6)
    state.parent.mkdir(parents=True)
    with Up.running(state, "--only", "files", "postgres") as up:
        up.until_ready()
        assert up.manage("status").returncode == 0
        up.stop()


def test_a_state_folder_whose_name_nginx_misreads_is_refused(folder: Path) -> None:
    result = manage("up", "--state", str(folder / "a$state"), "--port-base", str(free_port_base()), "--only", "files")
    assert result.returncode == 1
    assert f"nginx cannot use a folder of this name: {folder / 'a$state'}" in result.stderr


def test_commands_without_a_running_system_say_how_to_start_one(folder: Path) -> None:
    for words in (["status"], ["stop", "postgres"], ["start", "gateway"], ["restart", "files"]):
        result = manage(*words, "--state", str(folder))
        assert (result.returncode, result.stderr.strip()) == (
            3,
            "CommandError: Nothing is running. Start it with: make up",
        )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port-base", "80"], "80 is not between 1024 and"),
        (["--port-base", "many"], "'many' is not a number"),
        (["--only", "everything"], "invalid choice: 'everything'"),
        (["--postgres", "url"], "needs --auth-database-url and --images-database-url"),
        (["--state", "/proc/nowhere"], "The state folder /proc/nowhere cannot be made"),
    ],
)
def test_bad_options_of_up_are_explained(words: list[str], sentence: str) -> None:
    result = manage("up", *words)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr


def test_databases_that_run_already_are_used_and_no_postgres_is_started(first: FirstStart, folder: Path) -> None:
    with Up.running(first.state, "--only", "postgres") as databases:
        databases.until_ready()
        urls = [
            word for name in ("auth", "images") for word in (f"--{name}-database-url", database_url(first.state, name))
        ]
        with Up.running(folder / "state", "--only", "auth", "--postgres", "url", *urls) as up:
            up.until_ready()
            assert list(up.status()) == ["auth"]
            up.stop()
        databases.stop()


def test_a_database_that_cannot_be_reached_is_named(folder: Path) -> None:
    nowhere = f"postgres://auth:secret@127.0.0.1:{free_port_base()}/auth"
    result = manage(
        *("up", "--state", str(folder / "state"), "--port-base", str(free_port_base()), "--only", "auth"),
        *("--postgres", "url", "--auth-database-url", nowhere, "--images-database-url", nowhere),
    )
    assert result.returncode == 1
    assert result.stderr.startswith("CommandError: The auth database cannot be reached")
    assert "Traceback" not in result.stderr
    assert "secret" not in result.stderr


def test_a_postgresql_of_the_machine_serves_as_well(folder: Path) -> None:
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        pytest.skip("needs a PostgreSQL server: install the package postgresql")
    with Up.running(folder / "state", "--only", "postgres", "--postgres", "system") as up:
        up.until_ready()
        with psycopg.connect(database_url(folder / "state", "images")) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("images",)
        up.stop()


@as_root
def test_as_root_in_a_closed_folder_the_data_lies_outside_and_is_found_again(closed_folder: Path) -> None:
    state = closed_folder / "state"
    with Up.running(state, "--only", "postgres") as up:
        up.until_ready()
        outside = OUTSIDE / system_id(state)
        assert f"its data is in {outside}" in up.output
        with psycopg.connect(database_url(state, "auth")) as connection:
            connection.execute("CREATE TABLE kept (number integer)")
        up.stop()
    assert stat.S_IMODE(closed_folder.stat().st_mode) == 0o700
    moved = closed_folder / "moved"
    state.rename(moved)
    with Up.running(moved, "--only", "postgres") as up:
        up.until_ready()
        with psycopg.connect(database_url(moved, "auth")) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        up.stop()


@as_root
def test_a_user_who_is_not_root_runs_everything(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    if not _can_read(nobody, PROJECT / "manage.py"):
        pytest.skip("the checkout lies in a folder that other users cannot enter")
    python = _python_for(nobody, folder)
    home = folder / "home"
    home.mkdir()
    os.chown(home, nobody, nobody)
    with Up.running(
        home / "state",
        command=(str(python), str(PROJECT / "manage.py")),
        uid=nobody,
        environment=clean_environment(HOME=str(home), PYTHONDONTWRITEBYTECODE="1"),
    ) as up:
        up.until_ready()
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in up.everything} == {nobody}
        up.stop(signal.SIGHUP)
        assert up.process.returncode == 0


def _can_read(uid: int, path: Path) -> bool:
    """Whether a user can read the file: tried, since the folders above it have a say."""
    return (
        subprocess.run(
            ["cat", str(path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=uid,
            group=uid,
            extra_groups=[],
        ).returncode
        == 0
    )


def _python_for(uid: int, folder: Path) -> Path:
    """A Python with our packages that this user can run: ours may be closed to it."""
    candidates = [Path(sys.executable), Path(f"/usr/bin/python3.{sys.version_info.minor}")]
    packages = sysconfig.get_paths()["purelib"]
    for candidate in candidates:
        argv = [str(candidate), "-c", "import sys; sys.exit(0)"]
        try:
            runs = subprocess.run(argv, cwd="/", user=uid, group=uid, extra_groups=[], check=False).returncode == 0
        except OSError:
            runs = False
        if runs:
            target = folder / "python"
            subprocess.run([str(candidate), "-m", "venv", "--without-pip", str(target)], check=True)
            site = target / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
            (site / "seawall.pth").write_text(f"{packages}\n")
            return target / "bin" / "python"
    pytest.skip(f"needs a Python 3.{sys.version_info.minor} that every user can run: install the package python3")


def _with_an_hour_of_patience() -> tuple[str, ...]:
    """manage.py with an nginx that may take an hour for each step of its end: on no machine is that over by itself."""
    program = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
import manage, ops.nginx, ops.processes
ops.nginx.StopStep = lambda number, patience: ops.processes.StopStep(number, 3600.0)
manage.main()
"""
    return (sys.executable, "-c", program)


def _leaves(value: object) -> list[str]:
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in _leaves(part)]
    return [str(value)]
