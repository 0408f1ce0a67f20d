"""`manage.py images reap`: what crashes leave goes, and nothing else."""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from images import library, store
from images.models import Image, Removal
from images.upkeep import reaping, walking
from internal.problems import ProblemError
from tests.images.commands import PNG, content_of, images, later, overwrite, stored_image

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]


def left_behind() -> tuple[str, str, str]:
    """What an upload leaves when it is killed before its record commits."""
    names = store.names(uuid4(), "png")
    for name in names:
        overwrite(name, PNG)
    return names


def test_old_files_without_a_record_go_and_everything_else_stays(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    images_kept = [stored_image() for _ in range(3)]
    orphans = [*left_behind(), *left_behind()]
    remade = images_kept[0].stored_names[1].replace("avatar", "avatar-2")
    overwrite(remade, PNG)

    assert images("reap").summary["young"] == 7
    assert set(orphans) < stored()
    later(monkeypatch, hours=2)
    ran = images("reap")

    assert ran.status == 0
    assert ran.findings == {("removed", name) for name in (*orphans, remade)}
    assert (ran.summary["files"], ran.summary["removed"], ran.summary["removed_bytes"]) == (16, 7, 7 * len(PNG))
    assert stored() == {name for image in images_kept for name in image.stored_names}
    assert images("reap").told == []
    assert images("verify").status == 0


def test_the_age_says_how_old(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    orphan = left_behind()
    later(monkeypatch, minutes=30)

    assert images("reap").summary["young"] == 3
    assert images("reap", "--older-than", "31m").summary["young"] == 3
    assert images("reap", "--older-than", "29m").findings == {("removed", name) for name in orphan}
    assert stored() == set()


def test_a_dry_run_says_what_would_go(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    orphan = left_behind()
    later(monkeypatch, hours=2)

    ran = images("reap", "--dry-run")

    assert (ran.status, ran.summary["removed"]) == (0, 3)
    assert ran.findings == {("removable", name) for name in orphan}
    assert stored() == set(orphan)


@pytest.mark.parametrize(
    "name",
    [
        "uploads/readme.txt",
        "uploads/{id}.svg",
        "uploads/{id}.avatar-02.webp",
        "uploads/{id}.avatar.png",
        "uploads/x{id}.png",
        "uploads/.{id}.png.swp",
    ],
)
def test_a_name_that_nothing_here_gives_is_told_and_left_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    image = stored_image()
    strange = name.format(id=uuid4())
    overwrite(strange, PNG)
    later(monkeypatch, days=400)

    ran = images("reap")

    assert (ran.status, ran.findings, ran.summary["unknown"]) == (0, {("left alone", strange)}, 1)
    assert stored() == {strange, *image.stored_names}


def test_an_upload_that_is_held_up_until_the_reaper_has_been_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    put = store.put

    def put_and_wait(files: Any) -> None:
        put(files)
        later(monkeypatch, hours=2)
        assert images("reap").summary["removed"] == 3

    monkeypatch.setattr(store, "put", put_and_wait)
    with pytest.raises(ProblemError) as refused:
        stored_image()

    assert refused.value.problem.code == "deadline_exceeded"
    assert not Image.objects.exists()
    assert stored() == set()


def test_the_picture_goes_before_its_avatar_and_card_whatever_is_listed_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture, avatar, card = left_behind()
    later(monkeypatch, hours=2)
    listing = [store.look(name) for name in (card, avatar, picture)]
    monkeypatch.setattr(store, "listing", lambda: iter(listing))

    removed = [entry["name"] for entry in images("reap").told]

    assert removed == [picture, card, avatar]


def test_bytes_whose_record_commits_after_they_were_listed_stay(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    template = stored_image()
    names = left_behind()
    later(monkeypatch, hours=2)
    remove = reaping._remove

    def record_and_remove(image_id: Any, *rest: Any) -> None:
        if not Image.objects.filter(id=image_id).exists():
            template.pk = image_id
            template.save(force_insert=True)
        remove(image_id, *rest)

    monkeypatch.setattr(reaping, "_remove", record_and_remove)

    assert images("reap").summary["removed"] == 0
    assert set(names) <= stored()


def test_the_reaper_waits_for_a_record_that_is_being_committed(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    template = stored_image()
    names = left_behind()
    template.pk = names[0][8:44]
    later(monkeypatch, hours=2)
    results: list[Any] = []

    def reap() -> None:
        try:
            results.append(images("reap"))
        finally:
            connection.close()

    reaper = threading.Thread(target=reap)
    with transaction.atomic():
        template.pk = reaping._image_id(names[0])
        Image.objects.hold(template.pk)
        library._check_still_stored(template)
        template.save(force_insert=True)
        reaper.start()
        until = time.monotonic() + 20
        while not waiting_for_a_lock():
            assert time.monotonic() < until
            assert reaper.is_alive()
            time.sleep(0.01)
    reaper.join()

    assert results[0].summary["removed"] == 0
    assert set(names) <= stored()


def waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        return bool(cursor.fetchone()[0])


class Killed(BaseException):
    """As SIGKILL: nothing that follows is done."""


@pytest.mark.parametrize("closing", [False, True])
def test_what_a_deletion_leaves_that_is_killed_behind_its_commit_goes_at_once(
    closing: bool, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    image, other = stored_image(), stored_image()

    def killed(names: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", killed)
        with pytest.raises(Killed):
            library.close_account(image.owner) if closing else library.delete_image(image.owner, image.id)
    assert content_of(image.stored_names[0]) is not None

    would = images("reap", "--dry-run")
    assert would.findings == {("removable", name) for name in image.stored_names}
    assert images("verify").told == [{"what": "removals waiting", "files": 3}]
    assert len(stored()) == 6
    ran = images("reap")

    assert ran.findings == {("removed", name) for name in image.stored_names}
    assert (ran.status, ran.summary["deleted"], ran.summary["removed"]) == (0, 3, 0)
    assert stored() == set(other.stored_names)
    assert images("reap").told == images("verify").told == []


def test_what_was_deleted_and_cannot_be_removed_is_told(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    names = left_behind()
    Removal.objects.bulk_create(Removal(name=name) for name in names)
    monkeypatch.setattr(type(store.storage()), "remove", lambda self, names: dict.fromkeys(names, "Not permitted"))

    ran = images("reap")

    assert (ran.status, ran.summary["failed"]) == (1, 3)
    assert ran.findings == {("not removed", name) for name in names}
    assert Removal.objects.count() == 3


@pytest.mark.parametrize(("lost", "recorded"), [(4, 0), (33, 0), (10, 1), (17, 16)])
def test_the_wrong_database_does_not_empty_the_store(
    lost: int, recorded: int, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    records_of(recorded)
    for _ in range(lost):
        left_behind()
    everything = stored()
    later(monkeypatch, hours=2)

    ran = images("reap")

    assert ran.status == 1
    assert ran.error.startswith(
        f"{3 * lost} of {3 * (lost + recorded)} stored files have no record, which is more than crashes leave."
    )
    assert stored() == everything
    assert images("reap", "--dry-run").status == 0
    assert images("reap", "--expect-many").summary["removed"] == 3 * lost
    assert len(stored()) == 3 * recorded


@pytest.mark.parametrize(("left", "recorded"), [(3, 0), (9, 1), (16, 2), (17, 17)])
def test_what_crashes_leave_goes_without_a_word_more(
    left: int, recorded: int, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    records_of(recorded)
    for _ in range(left):
        left_behind()
    later(monkeypatch, hours=2)

    assert images("reap").summary["removed"] == 3 * left
    assert len(stored()) == 3 * recorded


@pytest.mark.parametrize(
    ("left_behind", "files", "too_many"), [(100, 400, False), (101, 400, True), (1000, 10_000, False)]
)
def test_in_a_large_store_a_tenth_may_be_left_behind(left_behind: int, files: int, too_many: bool) -> None:
    assert reaping._is_too_many(left_behind, files, files - left_behind) is too_many


def records_of(count: int) -> None:
    """So many images, quickly."""
    if count:
        template = stored_image()
    for _ in range(count - 1):
        template.pk = uuid4()
        for name in template.stored_names:
            overwrite(name, PNG)
        template.save(force_insert=True)


def test_any_number_of_files_is_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    monkeypatch.setattr(walking, "PAGE", 4)
    kept = stored_image()
    for _ in range(3):
        left_behind()
    later(monkeypatch, hours=2)

    assert images("reap").summary["removed"] == 9
    assert stored() == set(kept.stored_names)


def test_a_file_that_cannot_be_removed_is_told_and_stops_no_other(monkeypatch: pytest.MonkeyPatch, stored: Any) -> None:
    stuck, _ = left_behind(), left_behind()
    remove = type(store.storage()).remove

    def refuse(self: Any, names: Any) -> dict[str, str]:
        names = list(names)
        return {stuck[0]: "Operation not permitted"} if stuck[0] in names else remove(self, names)

    monkeypatch.setattr(type(store.storage()), "remove", refuse)
    later(monkeypatch, hours=2)
    ran = images("reap")

    assert ran.status == 1
    assert ("not removed", stuck[0]) in ran.findings
    assert stored() == set(stuck)
