"""What goes wrong while a backup is made or restored leaves nothing half done, and is told in words."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from backups import inventory, restoring, verifying
from backups.errors import Stopped
from config.env import EnvironmentFault
from tests.backups.system import Place, connected, contents, ordinary_rights, skip_unless, waiting
from tests.disk.volumes import Volume
from tests.running import Person, environment_of, manage, state, until

# Older programs than those of the server, as the system has them.
OLD = min(Path("/usr/lib/postgresql").glob("1[0-7]/bin"), default=Path("/usr/lib/postgresql/none/bin"))


def test_a_killed_create_leaves_no_backup_and_the_next_one_goes_through(place: Place, someone: Person) -> None:
    with place.held("create") as held:
        held.process.kill()
        held.process.wait()
    left = place.states()
    assert list(left.values()) == ["unfinished"]
    assert "There is no complete backup" in place.refused("restore", "latest")

    backup = place.create()

    assert place.states() == left | {backup: "complete"}
    folder = place.folder / next(iter(left))
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    old = folder.rename(place.folder / f"2001{folder.name[4:]}")
    assert "it was broken off" in place.good("prune")
    assert not old.exists()
    assert place.states() == {backup: "complete"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_create_leaves_nothing(place: Place, someone: Person, number: signal.Signals) -> None:
    with place.held("create") as held:
        held.process.send_signal(number)
        assert held.ended() == (130, "CommandError: Interrupted. No backup was made, and nothing of it is left.")
    assert place.files() == set()


def test_no_password_is_on_a_command_line_and_only_one_is_at_work(place: Place, someone: Person) -> None:
    passwords = [environment_of("console")[f"{name}_DATABASE_URL"].partition("@")[0] for name in ("AUTH", "IMAGES")]
    with place.held("create") as held:
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_of(path, held.process.pid)]
        assert any(b"pg_dump" in line for line in lines)
        for url in passwords:
            assert not any(url.rpartition(":")[2].encode() in line for line in lines)
        for words in (("create",), ("prune",)):
            assert "Another `backup create`, `restore` or `prune` is at work" in place.refused(*words)
        held.release()
        assert held.ended()[0] == 0
    assert list(place.states().values()) == ["complete"]


def _is_of(path: Path, pid: int) -> bool:
    try:
        return path.with_name("stat").read_text().rpartition(")")[2].split()[1] == str(pid)
    except OSError:
        return False


def test_a_database_that_goes_away_in_the_middle_leaves_nothing(place: Place, someone: Person) -> None:
    with place.held("create") as held, connected("auth") as connection:
        for pid in waiting("auth"):
            connection.execute("SELECT pg_terminate_backend(%s)", [pid])
        code, said = held.ended()
    assert code == 1
    assert "The auth database was not dumped. pg_dump:" in said
    assert "No backup was made, and nothing of it is left." in said
    assert place.files() == set()


def test_a_database_that_is_not_there_or_does_not_let_us_in_is_told(place: Place) -> None:
    url = environment_of("console")["AUTH_DATABASE_URL"]
    user, _, rest = url.partition("@")
    wrong = f"{user.rpartition(':')[0]}:not-the-password@{rest}"
    said = place.refused("create", AUTH_DATABASE_URL=wrong)
    assert "password authentication failed" in said
    assert "not-the-password" not in said
    assert "A database does not answer" in place.refused("create", AUTH_DATABASE_URL="postgres://a:b@127.0.0.1:1/auth")
    assert place.files() == set()


def test_programs_that_are_too_old_are_named_with_the_package_that_helps(place: Place, tmp_path: Path) -> None:
    said = place.here("create", PG_BIN=str(tmp_path)).stderr
    assert "found: none. Install the package postgresql-client-18" in said
    skip_unless((OLD / "pg_dump").exists(), "postgresql-client, of a release before 18")
    said = place.here("create", PG_BIN=str(OLD)).stderr
    assert f"of PostgreSQL 18 or newer are needed (the server is 18); found: {OLD.parent.name}." in said
    assert "postgresql-client-18" in said
    assert place.files() == set()


def test_a_place_that_cannot_be_used_is_told(place: Place, tmp_path: Path) -> None:
    root = environment_of("console")["IMAGE_ROOT"]
    assert "there is no such folder" in Place(tmp_path / "nowhere").refused("list")
    assert "BACKUP_STORE is not set" in place.refused("list", BACKUP_STORE="", BACKUP_ROOT="")
    for environment, fault in (
        ({"BACKUP_ROOT": root}, "BACKUP_ROOT: it is the place of the images"),
        ({"BACKUP_ROOT": f"{root}/uploads/backups"}, "BACKUP_ROOT: it is the place of the images"),
        ({"BACKUP_ROOT": str(state())}, "neither may lie in the other"),
        ({"BACKUP_ROOT": "backups"}, "BACKUP_ROOT: it must be an absolute path"),
        ({"BACKUP_ROOT": ""}, "BACKUP_ROOT: it is not set"),
        ({"BACKUP_S3_BUCKET": "backups"}, "BACKUP_S3_BUCKET: it is for BACKUP_STORE=s3"),
        ({"BACKUP_STORE": "tape"}, "BACKUP_STORE: "),
        ({"BACKUP_STORE": "s3"}, "BACKUP_ROOT: it is for BACKUP_STORE=filesystem"),
    ):
        with pytest.raises(EnvironmentFault) as caught:
            Place(place.folder, environment).here("list")
        assert fault in str(caught.value)
    finished = place.run("list", BACKUP_ROOT=root, BACKUP_KEEP_LAST="0")
    assert finished.returncode == 1
    assert [line.partition(":")[0].strip() for line in finished.stderr.splitlines()[1:]] == [
        "BACKUP_KEEP_LAST",
        "BACKUP_ROOT",
    ]


def test_a_folder_of_somebody_else_is_told(place: Place) -> None:
    with ordinary_rights():
        place.folder.chmod(0)
        assert "cannot be read by user" in place.refused("list")
        place.folder.chmod(0o500)
        assert "cannot be written to" in place.refused("create")
        place.folder.chmod(0o700)


def test_a_full_disk_leaves_nothing(place: Place, someone: Person, can_mount: str) -> None:
    if can_mount:
        pytest.skip(can_mount)
    with Volume(place.folder, size=4 * 1024 * 1024).attached() as volume:
        with volume.filled(leaving=8192):
            said = place.refused("create")
            assert "there is no room" in said
            assert "nothing of it is left" in said
            assert place.files() == {Volume.BALLAST}
        place.create()
        volume.read_only(True)
        assert "cannot be written to" in place.refused("create")
        assert place.good("verify", "--quick")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_restore_changes_nothing(place: Place, someone: Person, number: signal.Signals) -> None:
    backup = place.create()
    Person.new().register()
    before = {name: contents(name) for name in ("auth", "images")}
    # auth is through and waits for images
    with place.held("restore", backup, "--yes", database="images", table="images_owner") as held:
        held.process.send_signal(number)
        code, said = held.ended()
    if number == signal.SIGTERM:
        assert (code, said) == (
            130,
            "CommandError: Interrupted. Nothing was changed: both databases are as they were.",
        )
    until(lambda: not waiting("images"), "nobody waits any more")
    assert {name: contents(name) for name in ("auth", "images")} == before


def test_a_restore_that_one_database_refuses_changes_neither(
    place: Place, someone: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = place.create()
    Person.new().register()
    before = {name: contents(name) for name in ("auth", "images")}
    monkeypatch.setattr(restoring, "LOCK_SECONDS", 1)
    with connected("images") as connection:
        connection.execute("BEGIN; LOCK TABLE images_image IN ACCESS SHARE MODE")
        said = place.refused("restore", backup, "--yes")
        connection.rollback()

    assert "The images database was not restored" in said
    assert "stop auth, images and the console" in said
    assert said.endswith("Nothing was changed: both databases are as they were.")
    assert {name: contents(name) for name in ("auth", "images")} == before


def test_a_wrong_call_is_told(place: Place) -> None:
    finished = place.run("create", "--if-older-than", "soon")
    assert (finished.returncode, "such as 90m, 24h or 2d" in finished.stderr) == (2, True)
    for words in (("verify", "../x"), ("restore",), ("prune", "--keep-last", "x"), ("burn",)):
        assert place.here(*words).stderr.startswith("CommandError: Error: ")


def test_what_was_interrupted_does_not_hinder_the_chores_of_up() -> None:
    made = manage("backup", "create", "--json")
    assert made.returncode == 0, made.stderr
    backup = json.loads(made.stdout)["id"]
    assert (state() / "backups" / backup / "manifest.json").exists()
    assert manage("backup", "prune").returncode == 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [(KeyboardInterrupt(), 130), (Stopped("The store is away."), 1), (inventory.Damaged("it ends early"), 1)],
)
def test_what_fails_after_the_commit_says_that_it_is_done(
    place: Place, someone: Person, monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int
) -> None:
    backup = place.create()
    person = Person.new().register()

    def failing(*_: Any, **__: Any) -> None:
        raise fault

    monkeypatch.setattr(verifying, "compare", failing)
    finished = place.here("restore", backup, "--yes")

    assert finished.returncode == code
    assert "Both databases are those of the backup: it need not be restored again." in finished.stderr
    assert "Nothing was changed" not in finished.stderr
    with connected("auth") as connection:
        assert not connection.execute("SELECT FROM credentials_account WHERE id = %s", [person.id]).fetchone()


def test_a_signal_between_the_commits_is_heeded_after_them(
    place: Place, someone: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = place.create()
    committing = restoring._commit

    def interrupted(targets: list[Any]) -> None:
        signal.raise_signal(signal.SIGINT)
        committing(targets)

    monkeypatch.setattr(restoring, "_commit", interrupted)
    finished = place.here("restore", backup, "--yes")

    assert finished.returncode == 130
    assert "Interrupted. Both databases are those of the backup" in finished.stderr
