"""`manage.py images verify`: every record, compared with what is stored."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db.models import F
from django.utils import timezone

from images import derivatives, library, store
from images.models import Image, Owner
from images.upkeep import content, counters, walking
from tests.images.commands import PNG, content_of, flipped, images, later, overwrite, stored_image
from tests.images.pictures import animated, animation, corners, photo, saved

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]


def test_what_was_stored_is_found_whole() -> None:
    for data in (
        PNG,
        saved(photo(900, 600), "JPEG"),
        saved(corners(mode="LA"), "WEBP"),
        animated("GIF", animation(), duration=50),
    ):
        stored_image(data=data)

    ran = images("verify")

    assert (ran.status, ran.told, ran.error) == (0, [], "")
    assert ran.summary == {
        "what": "summary", "images": 4, "faults": 0, "findings": {}, "without_record": 0, "miscounts": 0, "ok": True,
    }  # fmt: skip


def test_each_fault_is_told_with_its_file() -> None:
    faulty = [stored_image() for _ in range(7)]
    whole = stored_image()
    missing, changed, cut, no_avatar, damaged_card, wrong_card, all_gone = (image.stored_names for image in faulty)
    store.remove(missing[:1])
    flipped(changed[0])
    overwrite(cut[0], content_of(cut[0])[:-1])
    store.remove(no_avatar[1:2])
    overwrite(damaged_card[2], b"RIFF")
    overwrite(wrong_card[2], content_of(wrong_card[1]))
    store.remove(all_gone)

    ran = images("verify")

    assert ran.status == 1
    assert ran.findings == {
        ("missing", missing[0]),
        ("damaged", changed[0]),
        ("damaged", cut[0]),
        ("missing", no_avatar[1]),
        ("damaged", damaged_card[2]),
        ("damaged", wrong_card[2]),
        *(("missing", name) for name in all_gone),
    }
    assert ran.summary["images"] == 8
    assert ran.summary["faults"] == 7
    assert ran.summary["findings"] == {"missing": 5, "damaged": 4}
    assert not any(str(whole.id) in entry["name"] for entry in ran.told)
    details = {entry["name"]: entry["detail"] for entry in ran.told}
    assert details[changed[0]] == "its checksum is not that of what was stored"
    size = faulty[2].size_bytes
    assert details[cut[0]] == f"it has {size - 1} bytes, and {size} were stored"
    assert details[wrong_card[2]] == "the card has 256 by 256 pixels, and 40 by 24 were expected"
    assert "`images derive`" in ran.error


def test_what_verify_finds_wrong_with_avatars_and_cards_derive_puts_right() -> None:
    first, second = stored_image(), stored_image()
    overwrite(first.stored_names[1], content_of(first.stored_names[2]))
    store.remove(second.stored_names[2:])

    assert images("verify").status == 1
    assert images("derive").summary["remade"] == 2
    assert images("verify").status == 0


def test_what_is_deleted_while_it_is_looked_at_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored_image()
    look = content.picture_faults

    def look_too_late(of: Image) -> Any:
        if Image.objects.filter(id=image.id).exists():
            library.delete_image(image.owner, image.id)
        return look(of)

    # in this thread: another one would have a database connection of its own, which nobody closes
    monkeypatch.setattr(walking, "in_order", lambda work, items: ((item, work(item)) for item in items))
    monkeypatch.setattr(content, "picture_faults", look_too_late)

    assert images("verify").told == []


def test_what_gets_new_pictures_while_it_is_looked_at_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored_image()
    look = content.derivative_faults

    def look_too_late(of: Image) -> Any:
        if of.derivation == 1:
            monkeypatch.setattr(content, "derivative_faults", look)
            monkeypatch.setattr(derivatives, "DERIVATION", 2)
            images("derive")
        return look(of)

    monkeypatch.setattr(walking, "in_order", lambda work, items: ((item, work(item)) for item in items))
    monkeypatch.setattr(content, "derivative_faults", look_too_late)

    assert images("verify").told == []
    assert Image.objects.get(id=image.id).derivation == 2


def test_files_without_a_record_are_counted_when_they_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    image = stored_image()
    overwrite(f"uploads/{uuid4()}.png", PNG)
    overwrite(image.stored_names[1].replace("avatar", "avatar-7"), PNG)

    assert images("verify").summary["without_record"] == 0
    later(monkeypatch, hours=2)
    ran = images("verify")

    assert (ran.status, ran.summary["without_record"]) == (0, 2)


def test_any_number_of_records_is_gone_through_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "PAGE", 2)
    monkeypatch.setattr(counters, "PAGE", 2)
    stored = [stored_image() for _ in range(5)]
    store.remove([image.stored_names[0] for image in stored])
    Owner.objects.update(image_count=9)

    ran = images("verify")

    assert (ran.summary["images"], ran.summary["faults"], ran.summary["miscounts"]) == (5, 5, 5)


def test_a_sample_looks_at_so_many_and_each_has_its_chance() -> None:
    everything = {stored_image().stored_names[0] for _ in range(4)}
    store.remove(everything)

    found: set[str] = set()
    for _ in range(40):
        ran = images("verify", "--sample", "2")
        assert (ran.status, len(ran.told)) == (1, 2)
        found |= {entry["name"] for entry in ran.told}

    assert found == everything
    assert images("verify", "--sample", "9").summary["images"] == 4
    assert images("verify", "--sample", "9").summary["without_record"] is None


def test_counters_that_are_not_those_of_the_records_are_told_and_set_right_on_request() -> None:
    wrong, right, unknown = stored_image(), stored_image(), stored_image()
    stored_image(owner=wrong.owner)
    Owner.objects.filter(account_id=wrong.owner).update(image_count=F("image_count") + 1, stored_bytes=5)
    Owner.objects.filter(account_id=unknown.owner).delete()

    ran = images("verify")
    assert ran.status == 1
    assert ran.findings == {("miscounted", str(wrong.owner)), ("miscounted", str(unknown.owner))}
    entry = next(entry for entry in ran.told if entry["account_id"] == str(wrong.owner))
    assert (entry["counted"], entry["recorded"]) == ([3, 5], [2, 2 * wrong.size_bytes])
    assert "--repair-counters" in ran.error

    ran = images("verify", "--repair-counters")
    assert (ran.status, len(ran.told), ran.summary["miscounts"]) == (0, 2, 0)
    kept = dict(Owner.objects.values_list("account_id", "image_count"))
    assert kept == {wrong.owner: 2, right.owner: 1, unknown.owner: 1}
    assert images("verify").told == []


def test_a_closed_account_that_keeps_images_is_told_and_not_counted_anew() -> None:
    image = stored_image()
    Owner.objects.update(image_count=0, stored_bytes=0, closed_at=timezone.now())

    ran = images("verify", "--repair-counters")

    assert (ran.status, ran.findings) == (1, {("miscounted", str(image.owner))})


def test_verifying_changes_nothing(stored: Any) -> None:
    image = stored_image()
    store.remove(image.stored_names[1:])
    Owner.objects.update(image_count=9)
    before = stored()

    images("verify")

    assert stored() == before
    assert Owner.objects.get().image_count == 9
