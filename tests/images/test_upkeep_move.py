"""`manage.py images export` and `import`: a store moves to a folder, and from a folder into a store."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from images import library, store
from images.models import Image
from images.upkeep import moving, walking
from tests.images.commands import PNG, content_of, flipped, images, overwrite, start, stored_image
from tests.images.pictures import animated, animation, photo, saved
from tests.images.test_store import file_size_limit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("any_store")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where an export goes to; not there yet."""
    return tmp_path / "export"


@pytest.fixture
def environment(request: pytest.FixtureRequest, image_root: Path) -> dict[str, str]:
    """The variables that name the store of this test, for a process of its own."""
    if isinstance(store.storage(), store.DurableFileSystemStorage):
        return {"IMAGE_ROOT": str(image_root)}
    server = request.getfixturevalue("s3")
    return dict(server.environment())


def everything() -> dict[str, bytes | None]:
    """What the store holds for every record."""
    return {name: content_of(name) for image in Image.objects.all() for name in image.stored_names}


def exported(folder: Path) -> dict[str, bytes]:
    """What the folder holds, except for its manifest."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != moving.MANIFEST
    }


def manifest(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / moving.MANIFEST).read_text().splitlines()]


def some_images() -> None:
    for data in (PNG, saved(photo(900, 600), "JPEG"), animated("GIF", animation(), duration=50)):
        stored_image(data=data)


def emptied() -> None:
    """The store lost everything; the records are there."""
    for image in Image.objects.all():
        store.remove(image.stored_names)


def test_an_export_has_every_file_and_a_manifest_of_them(folder: Path) -> None:
    some_images()

    ran = images("export", folder)

    content = everything()
    size = sum(map(len, content.values()))
    assert ran.status == 0
    assert ran.summary == {
        "what": "summary", "images": 3, "copied": 9, "copied_bytes": size, "present": 0, "findings": 0,
    }  # fmt: skip
    assert exported(folder) == content
    assert {entry["name"]: (entry["bytes"], entry["sha256"]) for entry in manifest(folder)} == {
        name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in content.items()
    }


def test_a_store_comes_back_from_its_export(folder: Path) -> None:
    some_images()
    before = everything()
    images("export", folder)
    emptied()

    assert images("import", folder).summary["copied"] == 9

    assert everything() == before
    assert images("verify").status == 0


def test_the_folder_of_a_store_can_be_imported_as_it_is(folder: Path) -> None:
    some_images()
    before = everything()
    images("export", folder)
    (folder / moving.MANIFEST).unlink()
    (folder / "incoming").mkdir(exist_ok=True)
    (folder / "incoming" / "tmpleft").write_bytes(b"half")
    emptied()

    assert images("import", folder).status == 0
    assert everything() == before


def test_a_second_run_copies_only_what_is_new_or_changed(folder: Path) -> None:
    some_images()
    images("export", folder)
    new = stored_image()
    first = Image.objects.exclude(id=new.id).first()
    (folder / first.stored_names[0]).write_bytes(b"rotten")
    (folder / first.stored_names[2]).write_bytes(b"rotten")
    (folder / "incoming" / "tmpleft").write_bytes(b"of a run that was killed")

    ran = images("export", folder)
    assert (ran.summary["copied"], ran.summary["present"]) == (5, 7)
    assert exported(folder) == everything()
    assert len(manifest(folder)) == 12

    overwrite(first.stored_names[0], b"rotten")
    overwrite(first.stored_names[1], b"rotten")
    ran = images("import", folder)
    assert (ran.summary["copied"], ran.summary["present"]) == (2, 10)
    assert images("verify").status == 0
    assert images("import", folder).summary["copied"] == 0


def test_what_is_missing_or_damaged_in_the_store_is_told_and_not_exported(folder: Path) -> None:
    missing, damaged, no_card = (stored_image() for _ in range(3))
    store.remove(missing.stored_names)
    flipped(damaged.stored_names[0])
    overwrite(no_card.stored_names[2], b"rotten")

    ran = images("export", folder)

    assert ran.status == 1
    assert ran.findings == {
        *(("missing", name) for name in missing.stored_names),
        ("damaged", damaged.stored_names[0]),
        ("damaged", no_card.stored_names[2]),
    }
    names = {*damaged.stored_names[1:], *no_card.stored_names[:2]}
    assert set(exported(folder)) == names
    assert {entry["name"] for entry in manifest(folder)} == names


def test_what_is_missing_or_damaged_in_the_folder_is_told_and_not_imported(folder: Path) -> None:
    missing, damaged, other_card, whole = (stored_image() for _ in range(4))
    images("export", folder)
    emptied()
    (folder / missing.stored_names[0]).unlink()
    (folder / damaged.stored_names[0]).write_bytes(PNG[:-1])
    (folder / other_card.stored_names[2]).write_bytes((folder / other_card.stored_names[1]).read_bytes())

    ran = images("import", folder)

    assert ran.status == 1
    assert ran.findings == {
        ("missing", missing.stored_names[0]),
        ("damaged", damaged.stored_names[0]),
        ("damaged", other_card.stored_names[2]),
    }
    assert [entry["detail"] for entry in ran.told if entry["name"] == other_card.stored_names[2]] == [
        f"in {folder}, its checksum is not that of the manifest"
    ]
    assert content_of(damaged.stored_names[0]) is None
    assert content_of(other_card.stored_names[2]) is None
    assert all(content_of(name) for name in whole.stored_names)


def test_what_the_store_has_whole_need_not_be_in_the_folder(folder: Path) -> None:
    stored_image()
    images("export", folder)
    stored_image()

    ran = images("import", folder)

    assert (ran.status, ran.summary["present"], ran.summary["copied"]) == (0, 6, 0)


def test_an_import_replaces_no_whole_avatar_or_card_by_an_older_one(folder: Path) -> None:
    image, other = stored_image(), stored_image()
    images("export", folder)
    newer = content_of(stored_image(data=saved(photo(900, 600), "JPEG")).stored_names[1])
    assert newer
    overwrite(image.stored_names[1], newer)
    overwrite(other.stored_names[1], b"rotten")

    ran = images("import", folder)

    assert (ran.status, ran.summary["copied"]) == (0, 1)
    assert content_of(image.stored_names[1]) == newer
    assert content_of(other.stored_names[1]) == (folder / other.stored_names[1]).read_bytes()


def test_a_deleted_image_does_not_come_back(folder: Path, stored: Any) -> None:
    gone, kept = stored_image(), stored_image()
    images("export", folder)
    library.delete_image(gone.owner, gone.id)

    assert images("import", folder).status == 0
    assert stored() == set(kept.stored_names)


@pytest.mark.parametrize("action", ["export", "import"])
def test_nothing_stays_of_an_image_that_is_deleted_meanwhile(
    action: str, folder: Path, monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    gone, kept = stored_image(), stored_image()
    if action == "import":
        images("export", folder)
        emptied()
    in_order = walking.in_order

    def in_order_and_delete(work: Any, items: Any) -> Iterator[Any]:
        for item, outcome in in_order(work, items):
            if item[0].id == gone.id:
                library.delete_image(gone.owner, gone.id)
            yield item, outcome

    monkeypatch.setattr(walking, "in_order", in_order_and_delete)
    ran = images(action, folder)

    assert (ran.status, ran.summary["copied"]) == (0, 3)
    assert (set(exported(folder)) if action == "export" else stored()) == set(kept.stored_names)


def killed_at(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Lets the process work until then, and kills it."""
    until = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < until
        if process.poll() is not None:
            pytest.fail(f"it ended by itself, with {process.returncode}: {process.communicate()[0]}")
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_an_export_that_is_killed_leaves_whole_files_and_goes_on(folder: Path, environment: dict[str, str]) -> None:
    for number in range(50):
        stored_image(data=saved(photo(400 + number, 300), "PNG"))
    content = everything()

    for wanted in (1, 60):
        process = start("export", folder, environment=environment)
        uploads = folder / "uploads"
        killed_at(process, lambda: uploads.is_dir() and len(os.listdir(uploads)) >= wanted)  # noqa: B023
        there = {name: data for name, data in exported(folder).items() if name.startswith("uploads/")}
        assert there.items() <= content.items()
        assert not (folder / moving.MANIFEST).exists()

    left = len(there)
    process = start("export", folder, environment=environment)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"{150 - left} files copied" in said
    assert exported(folder) == content
    assert len(manifest(folder)) == 150


def test_an_import_that_is_killed_leaves_whole_files_and_goes_on(
    folder: Path, environment: dict[str, str], stored: Any
) -> None:
    for number in range(50):
        stored_image(data=saved(photo(400 + number, 300), "PNG"))
    content = everything()
    images("export", folder)
    emptied()

    for wanted in (1, 60):
        process = start("import", folder, environment=environment)
        killed_at(process, lambda: sum(name.startswith("uploads/") for name in stored()) >= wanted)  # noqa: B023
        there = {name: data for name, data in everything().items() if data is not None}
        assert len(there) >= wanted
        assert there.items() <= content.items()

    process = start("import", folder, environment=environment)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert everything() == content
    assert images("verify").status == 0


def refused(action: str, folder: Path) -> str:
    ran = images(action, folder)
    assert (ran.status, ran.summary) == (1, {})
    return ran.error


def test_a_folder_that_cannot_be_exported_to_is_named_with_what_to_do(folder: Path, tmp_path: Path) -> None:
    stored_image()
    (tmp_path / "file").touch()
    folder.mkdir()
    (folder / "photos.txt").touch()

    assert refused("export", tmp_path / "file") == f"{tmp_path}/file is a file: name a folder."
    assert refused("export", tmp_path / "no" / "folder") == f"{tmp_path}/no does not exist: make it first."
    assert "holds something else (photos.txt). Name an empty folder" in refused("export", folder)
    assert os.listdir(folder) == ["photos.txt"]


def test_a_folder_that_cannot_be_written_to_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode, **_: path != folder)

    assert "is not writable: change its permissions" in refused("export", folder)


def test_a_folder_without_a_store_in_it_is_not_imported(tmp_path: Path) -> None:
    assert "has no folder uploads: name the folder of an export, or the IMAGE_ROOT" in refused("import", tmp_path)
    assert "has no folder uploads" in refused("import", tmp_path / "missing")


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("{}\n", "line 1 is not one of it"),
        ("half a li", "line 1 is not one of it"),
        (
            '{{"name": "uploads/{second}.png", "sha256": "0"}}\n{{"name": "uploads/{first}.png", "sha256": "0"}}\n',
            "order",
        ),
    ],
)
def test_a_manifest_that_is_none_is_named_with_what_to_do(lines: str, fault: str, folder: Path) -> None:
    images_ = sorted((stored_image() for _ in range(2)), key=lambda image: image.id)
    images("export", folder)
    (folder / moving.MANIFEST).write_text(
        lines.format(first=images_[0].id, second=images_[1].id) if "first" in lines else lines
    )

    error = refused("import", folder)
    assert fault in error
    assert "Export again, or put it aside" in error


@pytest.mark.parametrize("content", [b"\xff\xfe{\x00}\x00\n", b'{"name": "\xe4"}\n', b"[" * 100_000 + b"\n"])
def test_a_manifest_that_is_not_even_text_is_named_too(content: bytes, folder: Path) -> None:
    stored_image()
    images("export", folder)
    (folder / moving.MANIFEST).write_bytes(content)

    error = refused("import", folder)
    assert "line 1 is not one of it" in error
    assert "Export again, or put it aside" in error


def test_a_manifest_that_cannot_be_read_is_named_too(folder: Path) -> None:
    stored_image()
    images("export", folder)
    (folder / moving.MANIFEST).unlink()
    (folder / moving.MANIFEST).mkdir()

    error = refused("import", folder)
    assert "Is a directory" in error
    assert "Export again, or put it aside" in error


@pytest.mark.parametrize("action", ["export", "import"])
def test_one_works_with_a_folder_at_a_time(action: str, folder: Path) -> None:
    stored_image()
    images("export", folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert refused(action, folder) == f"Another export or import works with {folder}: wait for its end."
    finally:
        os.close(handle)
    assert images(action, folder).status == 0


def test_a_full_disk_stops_an_export_that_goes_on_when_there_is_room(folder: Path) -> None:
    stored_image()
    big = stored_image(data=saved(photo(1200, 900), "PNG"))
    assert big.size_bytes > 20_000

    with file_size_limit(20_000):
        error = refused("export", folder)

    assert error.startswith(f"There is no room in {folder}: make some, or use a larger one. What was copied is kept")
    assert big.stored_names[0] not in exported(folder)
    assert not [name for name in exported(folder) if name.startswith("incoming/")]
    assert images("export", folder).status == 0
    assert exported(folder) == everything()


def test_what_comes_back_changed_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_image()
    save = store.DurableFileSystemStorage._save

    def save_badly(self: Any, name: str, content: Any) -> str:
        saved_name = save(self, name, content)
        Path(self.path(name)).write_bytes(b"rotten")
        return saved_name

    monkeypatch.setattr(store.DurableFileSystemStorage, "_save", save_badly)

    assert "comes back changed: check its disk" in refused("export", folder)
    assert not any(data == b"rotten" for data in exported(folder).values())


def test_a_store_that_is_away_stops_an_export_that_goes_on_when_it_is_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(walking.PATIENCE + 3):
        stored_image()
    storage = type(store.storage())
    opened = storage.opened
    away = threading.Event()

    def fail(self: Any, name: str) -> Any:
        if away.is_set() and self is store.storage():
            raise OSError(5, "it does not answer")
        return opened(self, name)

    monkeypatch.setattr(storage, "opened", fail)
    away.set()
    error = refused("export", folder)
    away.clear()

    assert error.startswith("The image store does not answer (it does not answer). What was copied is kept")
    assert images("export", folder).status == 0
    assert exported(folder) == everything()


def test_a_single_file_that_cannot_be_read_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, _ = stored_image(), stored_image()
    storage = type(store.storage())
    opened = storage.opened

    def fail(self: Any, name: str) -> Any:
        if name == stuck.stored_names[0] and self is store.storage():
            raise OSError(5, "Input/output error")
        return opened(self, name)

    monkeypatch.setattr(storage, "opened", fail)
    ran = images("export", folder)

    assert (ran.status, ran.findings) == (1, {("unreadable", stuck.stored_names[0])})
    assert ran.summary["copied"] == 5


def test_the_store_itself_is_neither_exported_to_nor_imported(image_root: Path) -> None:
    if not isinstance(store.storage(), store.DurableFileSystemStorage):
        return
    stored_image()

    for action in ("export", "import"):
        assert refused(action, image_root) == f"{image_root} is the image store itself: name another folder."
        with contextlib.chdir(image_root.parent):
            assert "is the image store itself" in refused(action, Path(image_root.name))
