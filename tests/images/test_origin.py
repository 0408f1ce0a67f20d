"""The origin of stored bytes: the same headers as `files` gives, and nothing that was not stored."""

from __future__ import annotations

import io
import os
import tracemalloc
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from images import store

ID = "0b1c2d3e-0000-4000-8000-000000000001"
NAME = f"{ID}.png"
both_stores = pytest.mark.usefixtures("any_store")


@pytest.fixture
def content(image_root: Path) -> bytes:
    """What is stored as NAME in a folder, with a known moment of change."""
    (image_root / "uploads").mkdir()
    path = image_root / "uploads" / NAME
    path.write_bytes(b"pixels" * 100)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path.read_bytes()


def get(name: str, **headers: str) -> Any:
    answer = Client().get(f"/uploads/{name}", headers=headers)
    if answer.streaming:
        answer.body = b"".join(answer.streaming_content)
        answer.close()
    return answer


def test_stored_bytes_come_with_the_headers_that_files_gives(content: bytes) -> None:
    answer = get(NAME)

    assert answer.body == content
    headers = {name: answer[name] for name in answer.headers if name not in {"X-Request-ID", "Content-Disposition"}}
    assert headers == {
        "Content-Type": "image/png",
        "Content-Length": "600",
        "Cache-Control": "max-age=30, stale-while-revalidate=20, stale-if-error=86400",
        "ETag": '"6553f100-258"',
        "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def test_a_head_request_has_the_headers_and_no_body(content: bytes) -> None:
    answer = Client().head(f"/uploads/{NAME}")

    assert (answer.status_code, answer["Content-Length"]) == (200, "600")
    assert b"".join(answer) == b""
    answer.close()


@both_stores
def test_either_store_is_answered_alike_and_a_cache_can_ask_whether_it_still_has_the_same() -> None:
    pixels = os.urandom(300_000)
    store.put({f"uploads/{NAME}": io.BytesIO(pixels)})

    answer = get(NAME)

    etag, modified = answer["ETag"], answer["Last-Modified"]
    assert (answer.status_code, answer.body) == (200, pixels)
    assert (answer["Content-Type"], answer["Content-Length"]) == ("image/png", "300000")
    assert etag == f'"{int(parsedate_to_datetime(modified).timestamp()):x}-{300_000:x}"'
    assert answer["Cache-Control"] == "max-age=30, stale-while-revalidate=20, stale-if-error=86400"
    head = Client().head(f"/uploads/{NAME}")
    assert (head.status_code, head.content, head["ETag"], head["Content-Length"]) == (200, b"", etag, "300000")
    assert (head["Content-Type"], head["Last-Modified"]) == ("image/png", modified)
    same = get(NAME, if_none_match=etag)
    assert (same.status_code, same.content, same["ETag"], same["Last-Modified"]) == (304, b"", etag, modified)
    assert same["Cache-Control"] == answer["Cache-Control"]
    assert get(NAME, if_none_match='"another"').body == pixels

    store.remove([f"uploads/{NAME}"])

    for gone in (get(NAME), get(NAME, if_none_match=etag), Client().head(f"/uploads/{NAME}")):
        assert (gone.status_code, gone["Cache-Control"]) == (404, "max-age=5")


@both_stores
@pytest.mark.parametrize("extension", ["jpg", "webp", "gif", "avatar.webp", "card-2.webp"])
def test_the_type_is_what_the_extension_says(extension: str) -> None:
    store.put({f"uploads/{ID}.{extension}": io.BytesIO(b"pixels")})

    kind = {"jpg": "jpeg"}.get(extension, extension.rpartition(".")[2])
    assert get(f"{ID}.{extension}")["Content-Type"] == f"image/{kind}"


@both_stores
def test_an_answer_is_never_in_memory_as_a_whole() -> None:
    store.put({f"uploads/{NAME}": io.BytesIO(bytes(24_000_000))})
    get(NAME)  # what is loaded the first time does not count

    tracemalloc.start()
    try:
        answer = Client().get(f"/uploads/{NAME}")
        size = sum(map(len, answer.streaming_content))
        answer.close()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size == 24_000_000
    assert peak < 3_000_000


@pytest.mark.parametrize("condition", ['"6553f100-258"', 'W/"6553f100-258"', '"other", "6553f100-258"', "*"])
def test_what_a_browser_has_already_is_not_sent_again(content: bytes, condition: str) -> None:
    answer = get(NAME, if_none_match=condition)

    assert (answer.status_code, answer.content, answer["ETag"]) == (304, b"", '"6553f100-258"')
    assert get(NAME, if_none_match='"another"').status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        f"{ID[:-1]}2.png",
        f"{ID}.svg",
        f"{ID}.PNG",
        ID,
        f"{ID}.avatar.png",
        "incoming",
        "..",
        "%2e%2e%2fsecret.png",
        f"..%2fuploads%2f{NAME}",
        f"{NAME}%00",
        f"{NAME}%0a",
        f"%20{NAME}",
        f"x/{NAME}",
    ],
)
def test_every_other_name_is_not_found(content: bytes, image_root: Path, name: str) -> None:
    (image_root / "secret.png").write_bytes(b"not for anybody")

    answer = get(name)

    assert answer.status_code == 404
    assert answer["Cache-Control"] in {"max-age=5", "no-store"}


def test_a_link_out_of_the_store_is_not_served(content: bytes, image_root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not for anybody")
    (image_root / "uploads" / NAME).unlink()
    (image_root / "uploads" / NAME).symlink_to(tmp_path / "secret")

    assert get(NAME).status_code == 404


def test_other_methods_are_refused(content: bytes) -> None:
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(Client(), method)(f"/uploads/{NAME}")

        assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_a_store_that_does_not_answer_is_not_a_missing_image(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: store.DurableFileSystemStorage, name: str, mode: str = "rb") -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store.DurableFileSystemStorage, "_open", fail)

    assert (get(NAME).status_code, get(NAME).json()["code"]) == (503, "storage_unavailable")
