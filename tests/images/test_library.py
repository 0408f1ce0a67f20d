"""What can be done with a person's images, on a real database and on both stores: a file system and an S3 server."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from prometheus_client import REGISTRY

from images import library, limits, removals, store
from images.models import Image, Owner, Removal
from internal import context
from internal.problems import ProblemError
from tests.images.conftest import Person, s3_entry
from tests.images.pictures import animated, animation, corners, photo, saved
from tests.images.test_s3 import until
from tests.images.test_store import file_size_limit
from tests.proxies import Proxy, proxy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]

PNG = saved(corners(), "PNG")


def store_image(owner: UUID, data: bytes = PNG, **options: Any) -> UUID:
    return library.store_image(owner, io.BytesIO(data), **options).id


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ProblemError) as refused:
        call()
    return refused.value.problem.code


def kept(owner: UUID) -> tuple[int, int]:
    """What the quota counts, after comparing it with the records themselves."""
    row = Owner.objects.get(account_id=owner)
    sizes = list(Image.objects.of(owner).values_list("size_bytes", flat=True))
    assert (row.image_count, row.stored_bytes) == (len(sizes), sum(sizes))
    return row.image_count, row.stored_bytes


def in_parallel(calls: list[Callable[[], Any]]) -> list[Any]:
    """The results of calls that begin at the same moment; a ProblemError counts as its code.

    They may wait for a connection of the pool, however slow the machine is.
    """
    results: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(number: int) -> None:
        start.wait()
        try:
            with context.deadline_of(60):
                results[number] = calls[number]()
        except ProblemError as error:
            results[number] = error.problem.code
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection.pool, "timeout", 60.0)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return results


def test_a_stored_image_has_its_record_and_its_three_files(stored: Any) -> None:
    owner = uuid4()

    image = library.store_image(owner, io.BytesIO(saved(photo(900, 600), "JPEG")))

    assert stored() == {name.removeprefix("/") for name in (image.path, image.avatar_path, image.card_path)}
    assert image.path == f"/uploads/{image.id}.jpg"
    assert (image.content_type, image.width, image.height, image.animated) == ("image/jpeg", 900, 600, False)
    assert not image.is_profile_image
    record = Image.objects.get()
    with store.storage().open(image.path.removeprefix("/")) as file:
        content = file.read()
    assert (record.size_bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert library.get_image(owner, image.id) == image
    assert kept(owner) == (1, len(content))


def test_a_dry_run_judges_and_keeps_nothing(stored: Any) -> None:
    library.validate_upload(io.BytesIO(PNG))
    library.validate_upload(io.BytesIO(animated("GIF", animation(), duration=50)))
    library.validate_upload(io.BytesIO(animated("WEBP", animation(), duration=50)))

    assert code_of(lambda: library.validate_upload(io.BytesIO(PNG[:60]))) == "not_an_image"
    assert stored() == set()
    assert not Owner.objects.exists()


def test_deleting_takes_the_record_the_files_and_the_quota(stored: Any) -> None:
    owner = uuid4()
    first, second = store_image(owner), store_image(owner)

    library.delete_image(owner, first)

    assert all(name.startswith(f"uploads/{second}") for name in stored())
    assert len(stored()) == 3
    assert kept(owner)[0] == 1
    assert code_of(lambda: library.get_image(owner, first)) == "not_found"
    assert code_of(lambda: library.delete_image(owner, first)) == "not_found"


def test_files_stay_when_the_deletion_is_rolled_back(stored: Any) -> None:
    owner = uuid4()
    image = store_image(owner)

    with transaction.atomic():
        library.delete_image(owner, image)
        transaction.set_rollback(True)

    assert len(stored()) == 3
    assert library.get_image(owner, image)


def test_anothers_image_does_not_exist(stored: Any) -> None:
    owner, stranger = uuid4(), uuid4()
    image = store_image(owner, as_profile_image=True)
    store_image(stranger)

    assert code_of(lambda: library.get_image(stranger, image)) == "not_found"
    assert code_of(lambda: library.delete_image(stranger, image)) == "not_found"
    assert code_of(lambda: library.set_profile_image(stranger, image)) == "not_found"
    assert image not in {item.id for item in library.list_images(stranger).items}
    library.clear_profile_image(stranger)
    library.close_account(stranger)
    assert library.profile_image(owner) == library.get_image(owner, image)
    assert len(stored()) == 3


def test_a_list_is_read_page_by_page_newest_first_even_when_moments_are_the_same() -> None:
    owner = uuid4()
    ids = [store_image(owner) for _ in range(7)]
    Image.objects.filter(id__in=ids[2:5]).update(created_at=Image.objects.get(id=ids[2]).created_at)
    expected = [image.id for image in Image.objects.of(owner)]

    seen: list[UUID] = []
    cursor: str | None = None
    for size in (3, 3, 1):
        page = library.list_images(owner, cursor=cursor, limit=3)
        assert (len(page.items), page.total) == (size, 7)
        seen += [image.id for image in page.items]
        cursor = page.next_cursor

    assert seen == expected
    assert cursor is None


def test_an_empty_list_is_a_page_without_items() -> None:
    page = library.list_images(uuid4())

    assert (page.items, page.next_cursor, page.total) == ((), None, 0)


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "AAAA", "é", "A" * 31 + "=", "A" * 33, "f" + "_" * 31, "A" * 5000])
def test_text_that_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError) as refused:
        library.list_images(uuid4(), cursor=cursor)

    (error,) = refused.value.problem.errors
    assert (refused.value.problem.code, error.field) == ("invalid_input", "cursor")


@pytest.mark.parametrize("count", [1, 20])
def test_a_list_takes_two_queries_however_long_it_is(count: int, django_assert_num_queries: Any) -> None:
    owner = uuid4()
    for _ in range(count):
        store_image(owner)

    with django_assert_num_queries(2):
        assert len(library.list_images(owner).items) == count


def test_there_is_one_profile_image_at_most() -> None:
    owner = uuid4()
    first = store_image(owner, as_profile_image=True)
    second = store_image(owner, as_profile_image=True)
    third = store_image(owner)

    profile = library.profile_image(owner)
    assert profile is not None
    assert profile.id == second
    assert library.set_profile_image(owner, third).is_profile_image
    assert [image.id for image in Image.objects.filter(is_profile_image=True)] == [third]
    library.clear_profile_image(owner)
    assert library.profile_image(owner) is None
    library.set_profile_image(owner, first)
    library.delete_image(owner, first)
    assert library.profile_image(owner) is None


def test_parallel_choices_of_a_profile_image_end_with_one() -> None:
    owner = uuid4()
    ids = [store_image(owner) for _ in range(4)]

    in_parallel([lambda image=image: library.set_profile_image(owner, image) for image in ids])

    assert Image.objects.filter(owner=owner, is_profile_image=True).count() == 1


def test_the_database_itself_refuses_a_second_profile_image_and_impossible_records() -> None:
    store_image(owner := uuid4(), as_profile_image=True)
    good = {"owner": uuid4(), "content_type": "image/png", "extension": "png", "width": 1, "height": 1}
    good |= {"size_bytes": 1, "sha256": "0" * 64, "animated": False}
    for change in (
        {"owner": owner, "is_profile_image": True},
        {"extension": "jpg"},
        {"width": 0},
        {"size_bytes": 0},
        {"sha256": "0" * 63 + "g"},
    ):
        with pytest.raises(IntegrityError):
            Image.objects.create(**good | change)
    with pytest.raises(IntegrityError):
        Owner.objects.filter(account_id=owner).update(image_count=-1)


def test_the_quota_of_images_is_exact_under_parallel_uploads(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGES", 5)
    owner = uuid4()

    results = in_parallel([lambda: store_image(owner)] * 9)

    assert results.count("image_quota_exceeded") == 4
    assert kept(owner)[0] == 5
    assert len(stored()) == 15


def test_the_quota_of_bytes_is_exact_under_parallel_uploads(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    size = library.store_image(uuid4(), io.BytesIO(PNG)).size_bytes
    monkeypatch.setattr(limits, "MAX_STORED_BYTES", 3 * size + size // 2)
    owner = uuid4()

    results = in_parallel([lambda: store_image(owner)] * 6)

    assert results.count("image_quota_exceeded") == 3
    assert kept(owner) == (3, 3 * size)
    assert len(stored()) == 3 + 9


def test_room_that_deleting_makes_can_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_IMAGES", 1)
    owner = uuid4()
    first = store_image(owner)

    assert code_of(lambda: store_image(owner)) == "image_quota_exceeded"
    library.delete_image(owner, first)
    assert store_image(owner)
    assert store_image(uuid4())


def test_parallel_deletions_of_one_image_count_once() -> None:
    owner = uuid4()
    store_image(owner)
    image = store_image(owner)

    results = in_parallel([lambda: library.delete_image(owner, image)] * 4)

    assert sorted(map(str, results)) == ["None", "not_found", "not_found", "not_found"]
    assert kept(owner)[0] == 1


def test_closing_removes_everything_and_refuses_later_uploads(stored: Any) -> None:
    owner = uuid4()
    store_image(owner, as_profile_image=True)
    store_image(owner)

    library.close_account(owner)
    library.close_account(owner)

    assert stored() == set()
    assert code_of(lambda: store_image(owner)) == "conflict"
    assert stored() == set()
    assert library.list_images(owner).total == 0
    assert Owner.objects.get(account_id=owner).closed_at is not None


def test_an_account_without_images_can_be_closed_too() -> None:
    owner = uuid4()

    library.close_account(owner)

    assert code_of(lambda: store_image(owner)) == "conflict"


def test_nothing_stays_when_uploads_and_closing_meet(stored: Any) -> None:
    owner = uuid4()

    in_parallel([lambda: store_image(owner)] * 5 + [lambda: library.close_account(owner)])

    assert kept(owner) == (0, 0)
    assert stored() == set()


@pytest.fixture
def outage(request: pytest.FixtureRequest, settings: Any, image_root: Path) -> Iterator[Callable[[], Any]]:
    """Makes the store go away for the length of a block."""
    if isinstance(store.storage(), store.DurableFileSystemStorage):
        yield lambda: unmounted(image_root)
        return
    server = request.getfixturevalue("s3")
    with proxy(server.port) as middle:
        settings.STORAGES = {**settings.STORAGES, "images": s3_entry(server, S3_ENDPOINT_URL=middle.url)}
        yield lambda: cut(middle)


@contextmanager
def unmounted(image_root: Path) -> Iterator[None]:
    away = image_root.rename(image_root.with_name("away"))
    image_root.mkdir()
    try:
        yield
    finally:
        image_root.rmdir()
        away.rename(image_root)


@contextmanager
def cut(middle: Proxy) -> Iterator[None]:
    middle.mode = "cut"
    try:
        yield
    finally:
        middle.mode = "pass"


def nobody_tries_any_more() -> bool:
    return removals.retries._thread is None


@pytest.mark.parametrize("address", ["/internal/v1/images/{}", "/internal/v1/account"])
def test_what_is_deleted_while_the_store_is_away_goes_by_itself_when_it_is_back(
    address: str, outage: Callable[[], Any], person: Person, stored: Any
) -> None:
    image, other = store_image(person.id), store_image(uuid4())
    with outage():
        assert person.client.delete(address.format(image)).status_code == 204
        assert set(Removal.objects.values_list("name", flat=True)) == set(store.names(image, "png"))

    until(lambda: not Removal.objects.exists())

    assert stored() == set(store.names(other, "png"))
    until(nobody_tries_any_more)


def test_what_is_removed_at_once_leaves_nothing_to_do() -> None:
    owner = uuid4()
    library.delete_image(owner, store_image(owner))

    assert not Removal.objects.exists()


def test_a_deletion_that_is_rolled_back_leaves_nothing_to_remove() -> None:
    owner = uuid4()
    image = store_image(owner)

    with transaction.atomic():
        library.delete_image(owner, image)
        assert Removal.objects.count() == 3
        transaction.set_rollback(True)

    assert not Removal.objects.exists()


def test_a_name_stays_written_when_the_database_is_away_after_the_removal(
    stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = uuid4()
    image = store_image(owner)
    remove = store.remove

    def remove_and_lose(names: Any) -> Any:
        remove(names)
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(store, "remove", remove_and_lose)
    library.delete_image(owner, image)

    assert stored() == set()
    until(lambda: not Removal.objects.exists())
    until(nobody_tries_any_more)


def test_what_a_process_that_died_has_left_is_removed_by_the_watch(
    stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = uuid4()
    image = store_image(owner)
    with monkeypatch.context() as dying:
        dying.setattr(removals, "_at_once", lambda names: None)
        library.delete_image(owner, image)
    assert len(stored()) == Removal.objects.count() == 3

    removals.look()

    assert stored() == set()
    assert not Removal.objects.exists()
    assert REGISTRY.get_sample_value("images_removals_waiting") == 0


def test_what_a_record_names_is_never_removed(stored: Any) -> None:
    names = store.names(store_image(uuid4()), "png")
    Removal.objects.bulk_create(Removal(name=name) for name in names)

    assert removals.carry_out().gone == []
    assert stored() == set(names)
    assert not Removal.objects.exists()


def test_a_file_that_cannot_be_removed_keeps_no_other(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removals, "BATCH", 2)
    names = sorted(f"uploads/{uuid4()}.png" for _ in range(5))
    for name in names:
        store.storage().save(name, ContentFile(b"content"))
    Removal.objects.bulk_create(Removal(name=name) for name in names)
    remove = type(store.storage()).remove

    def refuse(self: Any, asked: Any) -> dict[str, str]:
        stuck = {name: "Operation not permitted" for name in asked if name == names[0]}
        return remove(self, [name for name in asked if name not in stuck]) | stuck

    monkeypatch.setattr(type(store.storage()), "remove", refuse)

    done = removals.carry_out()

    assert (done.gone, done.left) == (names[1:], {names[0]: "Operation not permitted"})
    assert list(Removal.objects.values_list("name", flat=True)) == names[:1]
    assert stored() == set(names[:1])


def test_files_go_when_the_record_cannot_be_written(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image, **options: Any) -> None:
        raise DatabaseError("no")

    monkeypatch.setattr(Image, "save", fail)
    with pytest.raises(DatabaseError):
        store_image(uuid4())

    assert stored() == set()


def test_files_stay_when_the_answer_to_commit_is_lost(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = uuid4()
    commit = connection.commit

    def commit_and_lose() -> None:
        commit()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "commit", commit_and_lose)
    with pytest.raises(OperationalError):
        store_image(owner)
    monkeypatch.undo()

    assert len(stored()) == 3
    assert kept(owner)[0] == 1


def test_a_full_disk_stores_nothing_and_goes_on_when_there_is_room_again(stored: Any) -> None:
    owner = uuid4()
    big = saved(photo(1200, 900), "PNG")
    assert len(big) > 20_000

    with file_size_limit(20_000):
        assert code_of(lambda: store_image(owner, big)) == "storage_full"

    assert stored() == set()
    assert not Image.objects.exists()
    assert store_image(owner, big)


def test_nothing_is_stored_for_somebody_who_has_stopped_waiting(stored: Any) -> None:
    with context.deadline_of(0):
        assert code_of(lambda: store_image(uuid4())) in {"busy", "deadline_exceeded"}

    assert stored() == set()
