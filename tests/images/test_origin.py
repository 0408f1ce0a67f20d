"""The origin of stored bytes: the same headers as `files` gives, and nothing that was not stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from images import store

ID = "0b1c2d3e-0000-4000-8000-000000000001"
NAME = f"{ID}.png"


@pytest.fixture
def content(image_root: Path) -> bytes:
    """What is stored as NAME, with a known moment of change."""
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
        "Cache-Control": "public, max-age=31536000, immutable",
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
    assert answer["Cache-Control"] == "no-store"


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
