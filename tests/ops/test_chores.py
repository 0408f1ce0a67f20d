"""`up` does by itself what is due now and then."""

from __future__ import annotations

from pathlib import Path

from ops.chores import CHORES
from tests.ops.running import Up, manage, until


def test_what_is_due_is_done_on_a_timer_and_a_failure_is_said_once(folder: Path) -> None:
    log = folder / "logs" / "chores.log"

    def written() -> str:
        return log.read_text() if log.exists() else ""

    with Up.running(folder, "--only", "auth", "--chores-every", "0.01") as up:
        up.until_ready()
        until(lambda: "is next now" in written(), "a next signing key is made")
        begun = written().count("\n")
        until(lambda: written().count("\n") > begun + len(CHORES), "they are done again")
        assert "failed and will be tried again" not in up.output

        assert up.manage("stop", "postgres").returncode == 0
        asking = [words for words in CHORES if words[:2] != ("backup", "create")]  # today's is made: it asks nobody
        until(lambda: all(f"manage.py {' '.join(words)}`" in up.output for words in asking), "failures are said")
        until(lambda: written().count("OperationalError") + written().count("cannot be reached") > 0, "and logged")
        assert up.output.count("failed and will be tried again") == len(asking)
        assert (folder / "backups").is_dir()
        assert "records, " in written()
        assert up.process.poll() is None
        up.stop()


def test_a_chore_that_cannot_even_be_started_is_said_and_takes_nothing_down(folder: Path) -> None:
    (folder / "logs" / "chores.log").mkdir(parents=True)

    with Up.running(folder, "--only", "auth", "--chores-every", "0.01") as up:
        up.until_ready()
        until(lambda: up.output.count("failed and will be tried again") == len(CHORES), "failures are said")
        assert up.status()["auth"]["state"] == "ready"
        up.stop()


def test_no_chore_is_done_where_none_is_wanted(folder: Path) -> None:
    with Up.running(folder, "--only", "auth", "--chores-every", "0") as up:
        up.until_ready()
        up.stop()

    assert not (folder / "logs" / "chores.log").exists()


def test_an_interval_that_is_none_is_refused() -> None:
    for minutes, fault in (
        ("often", "is not a number"),
        ("-1", "is not between 0 and 10080"),
        ("nan", "is not between"),
    ):
        refused = manage("up", "--chores-every", minutes)
        assert refused.returncode == 2
        assert fault in refused.stderr
