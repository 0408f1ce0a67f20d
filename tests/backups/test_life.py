"""A backup of a system that people use is made, the system is wrecked, and the backup brings it back."""

from __future__ import annotations

import json
import shutil

import psycopg
import pytest

from tests.backups.system import Place, connected, contents
from tests.running import Answer, Person, ask, manage, picture, url

SESSIONS = ("credentials_session", "credentials_auditevent", "sequences")  # which a restore changes: sessions end
SHORT_LIVED = ("credentials_signaturenonce", "images_signaturenonce", "django_session")


def refreshed(person: Person) -> Answer:
    return ask("POST", f"{url('gateway')}/api/v1/refresh", json={"refresh_token": person.refresh_token})


def logged_in(person: Person) -> Answer:
    credentials = {"email": person.email, "password": person.password}
    return ask("POST", f"{url('gateway')}/api/v1/login", json=credentials)


def test_a_wrecked_system_is_what_it_was(place: Place) -> None:
    old = Person.new().register(picture()).sign_in()
    images = [old.upload()["id"] for _ in range(3)]
    gone = old.upload()["id"]
    with connected("auth") as connection:
        connection.execute(
            "INSERT INTO django_session VALUES ('of-the-past', '', now() + interval '1 day') ON CONFLICT DO NOTHING"
        )
    backup = place.create()
    before = {name: contents(name) for name in ("auth", "images")}

    later = Person.new().register(picture()).sign_in()
    later.upload()
    assert old.call("DELETE", f"/images/{gone}").status == 204
    with connected("images") as connection:
        connection.execute("DELETE FROM images_image WHERE id = %s", [images[0]])
        connection.execute("CREATE TABLE of_a_newer_release (id int); CREATE TYPE of_a_newer_one AS ENUM ('a')")
        connection.execute("CREATE FUNCTION of_a_newer_one(of_a_newer_one) RETURNS int LANGUAGE sql RETURN 1")
    with connected("auth") as connection:
        connection.execute("UPDATE credentials_account SET password_hash = 'broken' WHERE id = %s", [old.id])

    refused = place.refused("restore", backup)
    assert "The databases are not empty" in refused
    assert "restore with --yes" in refused
    assert logged_in(later).status == 200
    with connected("auth") as connection:
        connection.execute("DROP TABLE credentials_signinfailure")
    assert logged_in(later).status == 503

    summary = place.lines("restore", backup, "--yes")[-1]
    assert summary["images"] == {"images": summary["images"]["images"], "missing": 1} | dict.fromkeys(
        ("different", "unreadable", "deleted"), 0
    )
    assert not summary["migrations_due"]

    after = {name: contents(name) for name in ("auth", "images")}
    for tables in (before["auth"], after["auth"]):
        for name in (*SESSIONS, "django_session"):
            del tables[name]
    assert after == before
    with connected("auth") as connection:
        assert connection.execute("SELECT count(*) FROM django_session").fetchone() == (0,)

    assert refreshed(old).status == 401
    assert refreshed(later).status == 401
    assert logged_in(later).status == 401
    old.sign_in()
    assert refreshed(old).status == 200
    assert {image["id"] for image in old.call("GET", "/images").json["items"]} >= {*images, gone}

    # The image that its owner deleted after the backup has no bytes any more; its owner deletes it again.
    verified = manage("images", "verify")
    assert (verified.returncode, f"missing: uploads/{gone}" in verified.stdout) == (1, True)
    assert old.call("DELETE", f"/images/{gone}").status == 204
    verified = manage("images", "verify")
    assert verified.returncode == 0, verified.stdout


def test_the_audit_record_is_as_append_only_as_before_and_says_which_sessions_ended(place: Place) -> None:
    person = Person.new().register().sign_in()
    backup = place.create()
    place.good("restore", backup, "--yes")

    with connected("auth") as connection:
        rows = connection.execute(
            "SELECT what, details->>'staff' FROM credentials_auditevent WHERE account_id = %s ORDER BY id", [person.id]
        ).fetchall()
        assert rows == [("registered", None), ("signed_in", None), ("session_ended", "backup restore")]
        for statement in (
            "DELETE FROM credentials_auditevent",
            "UPDATE credentials_auditevent SET what = 'x'",
            "TRUNCATE credentials_auditevent",
            "SET seawall.audit_pruning = on; DELETE FROM credentials_auditevent",
        ):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
                connection.execute(statement)


def test_sessions_stay_where_the_operator_says_so(place: Place) -> None:
    person = Person.new().register().sign_in()
    backup = place.create()
    said = place.good("restore", backup, "--yes", "--keep-sessions")

    assert "Sessions of then live on" in said
    assert refreshed(person).status == 200


def test_a_backup_holds_no_short_lived_rows_and_only_its_owner_reads_it(place: Place) -> None:
    Person.new().register()  # a signed call, whose nonce is remembered
    backup = place.create()

    for piece in ("auth.dump", "images.dump"):
        path = place.folder / backup / piece
        assert path.stat().st_mode & 0o777 == 0o600
        for table in SHORT_LIVED:
            assert f"TABLE DATA public {table} ".encode() not in path.read_bytes()
    assert (place.folder / backup).stat().st_mode & 0o777 == 0o700
    manifest = json.loads((place.folder / backup / "manifest.json").read_text())
    assert set(manifest["encryption_keys"]) == {"local"}
    assert len(manifest["encryption_keys"]["local"]) == 32


def test_nothing_is_due_while_the_newest_one_is_young(place: Place) -> None:
    backup = place.create()

    assert "Nothing to do" in place.good("create", "--if-older-than", "1h")
    assert place.states() == {backup: "complete"}


def test_old_ones_go_and_the_newest_good_one_never_does(place: Place) -> None:
    newest = place.create()
    older = [place.copy(newest, -number).name for number in (1, 2, 3)]
    damaged = place.copy(newest, 1)
    (damaged / "auth.dump").write_bytes(b"")
    broken_off = place.copy(newest, -4)
    (broken_off / "manifest.json").unlink()
    young = place.copy(newest, 2)
    (young / "manifest.json").unlink()
    (place.folder / "notes.txt").write_text("of somebody else")
    rules = ("--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")

    assert "would be removed" in place.good("prune", "--keep-last", "2", *rules, "--dry-run")
    assert len(place.states()) == 7
    assert place.here("prune", "--keep-last", "0", *rules).returncode == 2

    place.good("prune", "--keep-last", "2", *rules)
    # The one broken off has files of today: somebody may be at work on it.
    assert place.states() == {
        newest: "complete",
        older[0]: "complete",
        damaged.name: "damaged",
        broken_off.name: "unfinished",
        young.name: "unfinished",
    }
    place.good("prune", "--keep-last", "1", *rules)
    assert place.states().get(newest) == "complete"
    assert older[0] not in place.states()
    assert "notes.txt" in place.files()


def test_a_backup_of_the_future_neither_puts_off_the_next_one_nor_removes_it(place: Place) -> None:
    made = place.create()
    future = place.copy(made, 5)
    shutil.rmtree(place.folder / made)

    assert "Nothing to do" not in place.good("create", "--if-older-than", "24h")
    (today,) = set(place.states()) - {future.name}
    rules = ("--keep-last", "1", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0")
    assert "a clock was wrong" in place.good("prune", *rules)
    assert set(place.states()) == {today, future.name}


def test_a_key_that_was_revoked_after_the_backup_is_named(place: Place) -> None:
    listed = manage("signing_keys", "list").stdout.splitlines()
    kid = next(line.split()[0] for line in listed if " active " in line)
    backup = place.create()
    assert manage("signing_keys", "revoke", kid).returncode == 0

    said = place.good("restore", backup, "--yes")

    assert f"alive again: {kid}: it was revoked after the backup: `signing_keys revoke {kid}`" in said
    assert manage("signing_keys", "revoke", kid).returncode == 0
    assert "alive again" not in place.good("restore", place.create(), "--yes")
