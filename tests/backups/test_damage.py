"""A backup that is not what it was: told by `list` and `verify`, refused by `restore`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.backups.system import Place, connected, contents
from tests.running import Person, environment_of


def flipped(path: Path) -> None:
    """One bit is another one, and the length the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def test_every_damage_is_found_and_named(place: Place, someone: Person) -> None:
    good = place.create()
    expected: dict[str, tuple[str, bool]] = {good: ("complete", True)}
    number = 0
    for state, damage in (("complete", flipped), ("damaged", cut), ("damaged", os.unlink)):
        for piece in ("auth.dump", "images.dump", "inventory.jsonl.gz"):
            number += 1
            folder = place.copy(good, number)
            damage(folder / piece)
            expected[folder.name] = (state, False)
    for text in ("{", json.dumps({"format": 2}), "x" * 2_000_000):
        number += 1
        folder = place.copy(good, number)
        (folder / "manifest.json").write_text(text)
        expected[folder.name] = ("newer" if "format" in text else "damaged", False)
    of_another = place.copy(good, number + 1, id=good)
    expected[of_another.name] = ("damaged", False)

    assert place.states() == {backup_id: state for backup_id, (state, _) in expected.items()}
    lines = place.lines("verify", "--all", "--quick", status=1)
    assert {line["id"]: line["ok"] for line in lines if line["what"] == "summary"} == {
        backup_id: ok for backup_id, (_, ok) in expected.items()
    }
    told = {line["name"].partition("/")[0] for line in lines if line["what"] != "summary"}
    assert told == set(expected) - {good}

    flipped_dump = f"{int(good[:4]) + 1}{good[4:]}"
    assert "damaged; see above. Nothing was changed" in place.refused("restore", flipped_dump, "--yes")
    assert "There is no backup" in place.refused("verify", "2001")
    assert "backups begin with 20" in place.refused("verify", "20")
    # Damaged ones are passed over where the newest is asked for.
    assert place.lines("verify", "latest", "--quick", status=1)[-1]["id"] > good


def test_images_that_the_store_lost_are_told_from_those_that_were_deleted(place: Place) -> None:
    person = Person.new().register().sign_in()
    lost, short, deleted = (person.upload() for _ in range(3))
    backup = place.create()
    store = Path(environment_of("console")["IMAGE_ROOT"])
    paths = {image["id"]: store / "uploads" / image["url"].rpartition("/")[2] for image in (lost, short, deleted)}
    contents_of = {image_id: path.read_bytes() for image_id, path in paths.items()}
    assert person.call("DELETE", f"/images/{deleted['id']}").status == 204
    paths[lost["id"]].unlink()
    cut(paths[short["id"]])

    lines = place.lines("verify", backup, status=1)
    for image_id in (lost["id"], short["id"]):
        paths[image_id].write_bytes(contents_of[image_id])

    assert {(line["what"], line["name"].rpartition("/")[2]) for line in lines[:-1]} == {
        ("missing", paths[lost["id"]].name),
        ("different", paths[short["id"]].name),
    }
    counted = lines[-1]["images"]
    assert (counted["missing"], counted["different"], counted["deleted"]) == (1, 1, 1)
    assert "1 deleted since" in place.good("verify", backup)
    assert person.call("DELETE", f"/images/{short['id']}").status == 204


def test_what_this_release_cannot_take_is_refused_before_anything_is_touched(place: Place, someone: Person) -> None:
    good = place.create()
    manifest: dict[str, Any] = json.loads((place.folder / good / "manifest.json").read_text())
    before = {name: contents(name) for name in ("auth", "images")}

    def changed(number: int, **of_auth: Any) -> str:
        entries = manifest["databases"] | {"auth.dump": manifest["databases"]["auth.dump"] | of_auth}
        return place.copy(good, number, databases=entries).name

    migrations = [*manifest["databases"]["auth.dump"]["migrations"], "credentials.9999_of_tomorrow"]
    assert "does not know its migration credentials.9999_of_tomorrow" in place.refused(
        "restore", changed(1, migrations=migrations), "--yes"
    )
    assert "of PostgreSQL 99.1" in place.refused("restore", changed(2, server="99.1"), "--yes")
    assert "postgresql-client-99" in place.refused("restore", changed(3, pg_dump="99.1"), "--yes")
    other = place.copy(good, 4, encryption_keys={"local": "0" * 32}).name
    assert "'local' is another key than it was" in place.refused("restore", other, "--yes")
    assert "The databases are not empty" in place.refused("restore", other, "--lost-keys")
    assert {name: contents(name) for name in ("auth", "images")} == before


def test_an_empty_system_takes_a_backup_without_being_asked_twice(place: Place, someone: Person) -> None:
    backup = place.create()
    before = {name: contents(name) for name in ("auth", "images")}
    for name in ("auth", "images"):
        with connected(name) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    place.good("restore", backup, "--keep-sessions")

    for tables in (*before.values(),):
        tables.pop("django_session", None)
    after = {name: contents(name) for name in ("auth", "images")}
    after["auth"].pop("django_session")
    assert after == before
    someone.sign_in()


def test_tables_of_somebody_else_are_not_dropped_unasked(place: Place, someone: Person) -> None:
    backup = place.create()
    for name in ("auth", "images"):
        with connected(name) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with connected("images") as connection:
        connection.execute("CREATE TABLE invoices (id int)")

    said = place.refused("restore", backup)

    assert "tables that this release does not know: images.invoices" in said
    with connected("images") as connection:
        assert connection.execute("SELECT to_regclass('public.invoices')").fetchone() == ("invoices",)
    place.good("restore", backup, "--yes")
    with connected("images") as connection:
        assert connection.execute("SELECT to_regclass('public.invoices')").fetchone() == (None,)


def test_wrecked_databases_are_replaced_where_the_operator_says_so(place: Place, someone: Person) -> None:
    backup = place.create()
    before = contents("images")
    with connected("images") as connection:
        connection.execute("ALTER TABLE images_image DROP COLUMN created_at")
    with connected("auth") as connection:
        connection.execute("DROP TABLE credentials_auditevent; CREATE VIEW credentials_auditevent AS SELECT 1 AS id")

    said = place.refused("restore", backup)

    assert "column images_image.created_at does not exist" in said
    assert "Nothing was changed. To go on all the same: restore with --yes." in said
    place.good("restore", backup, "--yes")
    assert contents("images") == before
    someone.sign_in()


def test_a_damaged_newest_one_is_named_where_the_latest_is_asked_for(place: Place, someone: Person) -> None:
    good = place.create()
    newest = place.copy(good, 1)
    cut(newest / "auth.dump")

    lines = place.lines("verify", "--quick", status=1)

    assert [(line["id"], line["ok"]) for line in lines if line["what"] == "summary"] == [
        (newest.name, False),
        (good, True),
    ]
    lines = place.lines("restore", "latest", "--yes")
    assert (lines[0]["what"], lines[0]["name"], lines[-1]["id"]) == ("passed over", newest.name, good)
