"""Both stores, by the same tests; then what is only a file system's: whole and durable, or not there at all."""

from __future__ import annotations

import datetime as dt
import errno
import io
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.files import File
from django.utils import timezone

from images import health, store
from images.store import s3
from internal.problems import ProblemError

NAME = "uploads/0b1c2d3e-0000-4000-8000-000000000001.png"
both_stores = pytest.mark.usefixtures("any_store")


def on_disk() -> bool:
    return isinstance(store.storage(), store.DurableFileSystemStorage)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """A disk on which no file of this process grows past `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def name(number: int, extension: str = "png") -> str:
    return f"uploads/0b1c2d3e-0000-4000-8000-{number:012}.{extension}"


def read(path: str) -> bytes:
    found = store.find(path)
    assert found is not None
    with found[0] as file:
        content: bytes = file.read()
    return content


@both_stores
@pytest.mark.parametrize("size", [1, 5_000, 3_000_000])
def test_what_was_stored_is_read_back_with_its_size_and_moment(size: int) -> None:
    content, begun = os.urandom(size), timezone.now()

    store.put({NAME: io.BytesIO(content)})

    known = store.look(NAME)
    assert known is not None
    assert (read(NAME), known.name, known.size) == (content, NAME, size)
    assert begun - dt.timedelta(seconds=2) < known.modified < timezone.now() + dt.timedelta(seconds=2)
    found = store.find(NAME)
    assert found is not None
    with found[0] as file:
        assert (found[1], file.size) == (known.modified, size)


@both_stores
def test_a_stored_file_can_be_read_in_any_order() -> None:
    content = os.urandom(300_000)
    store.put({NAME: io.BytesIO(content)})

    with store.storage().open(NAME) as file:
        assert file.read(10) == content[:10]
        file.seek(250_000)
        assert file.read(100) == content[250_000:250_100]
        file.seek(0)
        assert b"".join(file.chunks(7_000)) == content
        assert file.read(1) == b""


@both_stores
def test_a_file_that_is_not_there_is_none_and_removing_it_is_no_error() -> None:
    assert (store.find(NAME), store.look(NAME)) == (None, None)
    assert not store.storage().exists(NAME)

    store.remove([NAME, name(2)])

    assert [*store.listing(), *store.unfinished()] == []


@both_stores
def test_a_name_that_is_stored_again_has_the_new_content(stored: Any) -> None:
    store.put({NAME: io.BytesIO(b"damaged")})
    store.put({NAME: io.BytesIO(b"whole again")})

    assert stored() == {NAME}
    assert read(NAME) == b"whole again"


@both_stores
def test_all_files_are_stored_or_none(stored: Any) -> None:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(ProblemError) as refused:
        store.put({NAME: io.BytesIO(b"first"), name(2): io.BytesIO(b"second"), name(3): Unreadable(b"third")})

    assert refused.value.problem.code == "storage_unavailable"
    assert stored() == set()


@both_stores
def test_removed_files_are_gone_and_the_others_stay(stored: Any) -> None:
    store.put({name(number): io.BytesIO(b"content") for number in range(5)})

    store.remove(name(number) for number in range(4))

    assert stored() == {name(4)}


@both_stores
def test_a_list_has_everything_with_size_and_moment_and_unknown_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "BATCH", 4)  # so that there are several pages
    expected = {name(number): number for number in range(1, 10)} | {"uploads/notes.txt": 3, "uploads/a/b c+ü%.png": 5}
    for path, size in expected.items():
        if on_disk():
            Path(store.storage().path(path)).parent.mkdir(parents=True, exist_ok=True)
        store.storage().save(path, File(io.BytesIO(b"x" * size)))

    entries = list(store.listing())

    assert {entry.name: entry.size for entry in entries} == expected
    assert len(entries) == len(expected)
    assert {entry.modified.tzinfo is not None for entry in entries} == {True}


@both_stores
def test_a_write_that_never_ended_is_found_and_given_up(stored: Any, request: pytest.FixtureRequest) -> None:
    store.put({NAME: io.BytesIO(b"content")})
    if on_disk():
        Path(store.storage().path("incoming/left")).write_bytes(b"half")
    else:
        server = request.getfixturevalue("s3")
        begun = server.client().create_multipart_upload(Bucket=server.bucket, Key=name(2))
        part = {"Bucket": server.bucket, "Key": name(2), "UploadId": begun["UploadId"]}
        server.client().upload_part(**part, PartNumber=1, Body=b"half")

    (left,) = store.unfinished()
    assert left.name in {"incoming/left", name(2)}
    assert abs(timezone.now() - left.modified) < dt.timedelta(minutes=1)
    assert {entry.name for entry in store.listing()} == {NAME}

    store.discard(left)
    store.discard(left)

    assert list(store.unfinished()) == []
    assert stored() == {NAME}


@both_stores
def test_a_store_that_is_as_it_must_be_is_ready_and_up() -> None:
    health.storage()

    assert health.storage_is_up()


def test_a_stored_file_has_its_content_and_can_be_read_by_the_server_of_files(image_root: Path) -> None:
    previous = os.umask(0o077)
    try:
        store.put({NAME: io.BytesIO(b"content" * 1000)})
    finally:
        os.umask(previous)

    path = image_root / NAME
    assert path.read_bytes() == b"content" * 1000
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755


def test_nothing_is_named_before_it_is_on_the_disk_and_the_folder_is_synced_last(
    image_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put({NAME: io.BytesIO(b"first")})
    events: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def sync(handle: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        real_sync(handle)

    def rename(source: str, target: Path) -> None:
        events.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "rename", rename)
    store.put({NAME.replace("1.png", "2.png"): io.BytesIO(b"second")})

    assert events == ["sync file", "rename", "sync folder"]


def test_the_folder_is_synced_after_a_removal(image_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put({NAME: io.BytesIO(b"content")})
    synced: list[list[str]] = []
    real_sync = os.fsync

    def sync(handle: int) -> None:
        synced.append(os.listdir(handle))
        real_sync(handle)

    monkeypatch.setattr(os, "fsync", sync)

    assert store.remove([NAME]) == {}
    assert synced == [[]]


def test_nothing_counts_as_removed_while_the_volume_is_away(image_root: Path) -> None:
    store.put({NAME: io.BytesIO(b"content")})
    away = image_root.rename(image_root.with_name("away"))
    image_root.mkdir()

    assert store.remove([NAME]) == {NAME: "No such file or directory"}

    image_root.rmdir()
    away.rename(image_root)
    assert store.remove([NAME]) == {}


def test_a_full_disk_is_named_and_leaves_nothing_behind(image_root: Path, stored: Any) -> None:
    files = {NAME: io.BytesIO(b"x" * 1000), NAME.replace("1.png", "2.png"): io.BytesIO(b"x" * 200_000)}

    with file_size_limit(50_000), pytest.raises(ProblemError) as refused:
        store.put(files)

    assert (refused.value.problem.code, refused.value.problem.status) == ("storage_full", 507)
    assert stored() == set()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "storage_full"),
        (errno.EDQUOT, "storage_full"),
        (errno.EIO, "storage_unavailable"),
        (errno.EROFS, "storage_unavailable"),
    ],
)
def test_what_the_disk_says_decides_the_problem(
    number: int, code: str, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ProblemError) as refused:
        store.put({NAME: io.BytesIO(b"content")})

    assert refused.value.problem.code == code
    assert stored() == set()


def test_content_that_ends_in_an_error_leaves_nothing_behind(stored: Any) -> None:
    class Broken(File):  # type: ignore[type-arg]
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("the rest is lost")

    with pytest.raises(RuntimeError):
        store.storage().save(NAME, Broken(io.BytesIO()))

    assert stored() == set()


def test_removing_is_no_error_when_files_are_gone_or_cannot_be_removed(image_root: Path) -> None:
    (image_root / "uploads" / "folder").mkdir(parents=True)
    (image_root / "uploads" / "folder" / "inside").touch()

    store.remove([NAME, "uploads/folder"])

    assert (image_root / "uploads" / "folder" / "inside").exists()


def test_a_symbolic_link_in_the_store_is_not_followed(image_root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"something of the machine's own")
    (image_root / "uploads").mkdir()
    (image_root / NAME).symlink_to(tmp_path / "outside")

    with pytest.raises(OSError, match="symbolic links"):
        store.storage().open(NAME)


def test_names_are_made_of_the_id_and_match_what_is_served() -> None:
    names = store.names(UUID("0b1c2d3e-0000-4000-8000-000000000001"), "gif")

    assert names == (
        "uploads/0b1c2d3e-0000-4000-8000-000000000001.gif",
        "uploads/0b1c2d3e-0000-4000-8000-000000000001.avatar.webp",
        "uploads/0b1c2d3e-0000-4000-8000-000000000001.card.webp",
    )
    assert all(store.NAME.fullmatch(name.removeprefix("uploads/")) for name in names)


def test_readiness_wants_the_folder_of_the_store(image_root: Path) -> None:
    health.storage()
    image_root.rmdir()

    with pytest.raises(health.StorageUnavailable, match="does not exist"):
        health.storage()
    assert not health.storage_is_up()


def test_readiness_wants_to_write(image_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)

    with pytest.raises(health.StorageUnavailable, match="not writable"):
        health.storage()
