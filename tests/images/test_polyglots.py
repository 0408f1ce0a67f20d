"""Files that are an image and something else besides: what is stored of them is the image and nothing else."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import pytest
from django.test import Client
from PIL import Image

from images import decoding
from tests.images import marked
from tests.images.conftest import Person
from tests.images.pictures import SECRET, corners, opened, photo, saved, with_gif_blocks

HTML = b"<script>alert(1)</script>"
JAVASCRIPT = b"*/=1;alert(1);//"
PHP = b"<?php system($_GET['c']); ?>"
PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
SHOUTING = (HTML, JAVASCRIPT, PHP, PDF, b"PK\x03\x04", b"PK\x05\x06")
FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as written:
        written.writestr("index.html", HTML)
    return target.getvalue()


def stored(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is stored of an upload: the picture, its avatar, its card."""
    with decoding.converted(io.BytesIO(data)) as kept:
        return kept.original.file.read(), kept.avatar.file.read(), kept.card.file.read()


def assert_only_an_image(data: bytes) -> None:
    for piece in stored(data):
        assert not any(payload in piece for payload in SHOUTING)
        assert not zipfile.is_zipfile(io.BytesIO(piece))
        opened(piece).load()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("payload", [HTML, JAVASCRIPT, PHP, PDF], ids=["html", "javascript", "php", "pdf"])
def test_what_stands_behind_the_end_of_an_image_is_gone(name: str, payload: bytes) -> None:
    assert_only_an_image(saved(photo(), name) + payload)


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_that_is_also_a_zip_archive_is_none_any_more(name: str) -> None:
    data = saved(photo(), name) + archive()
    assert zipfile.is_zipfile(io.BytesIO(data))

    assert_only_an_image(data)


def inside(payload: bytes) -> dict[str, bytes]:
    """Images with the payload in places of their own formats."""
    png, jpeg, gif = saved(photo(), "PNG"), saved(photo(), "JPEG"), saved(photo(), "GIF")
    texts = [marked.chunk(b"tEXt", b"Title\0" + payload), marked.chunk(b"prVt", payload)]
    idat = png.index(b"IDAT")
    first = int.from_bytes(png[idat - 4 : idat], "big")
    behind_pixels = idat + 4 + first + 4
    comment = b"\x21\xfe" + bytes([len(payload)]) + payload + b"\0"
    return {
        "PNG, texts": marked.png_with(png, *texts),
        "PNG, chunks beside the pixels": png[:behind_pixels] + texts[1] + png[behind_pixels:],
        "JPEG, comment": marked.jpeg_with(jpeg, marked.segment(0xFE, payload)),
        "JPEG, application": marked.jpeg_with(jpeg, marked.segment(0xE9, payload)),
        "WebP, chunks": marked.webp_with(
            saved(photo(), "WEBP"), marked.riff(b"EXIF", payload), marked.riff(b"x", payload)
        ),
        "GIF, comment": with_gif_blocks(gif[:-1] + comment + gif[-1:]),
    }


@pytest.mark.parametrize("place", list(inside(b"")))
@pytest.mark.parametrize("payload", [HTML, JAVASCRIPT, PHP, PDF, archive()], ids=["html", "js", "php", "pdf", "zip"])
def test_what_is_hidden_inside_an_image_is_gone(place: str, payload: bytes) -> None:
    data = inside(payload)[place]
    assert payload in data

    assert_only_an_image(data)


def test_a_gif_that_is_also_a_script_is_none_any_more() -> None:
    # Its width reads as the start of a comment, its end closes it: GIF89a/*...*/=1;alert(1);//
    gif = saved(corners(), "GIF")
    data = gif[:6] + b"/*" + gif[8:-1] + b"\x21\xfe" + bytes([len(JAVASCRIPT)]) + JAVASCRIPT + b"\0;"

    original, *_ = stored(data)

    assert original.startswith(b"GIF89a/*")  # the size of the picture, and still a comment without an end
    assert b"*/" not in original


def painted(payload: bytes) -> bytes:
    """A PNG whose very pixels are the payload, stored without compression."""
    header = struct.pack(">IIBBBBB", len(payload), 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" + payload, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(marked.chunk(*part) for part in parts)


def test_words_in_a_palette_or_in_pixels_are_part_of_the_picture(person: Person, transactional_db: None) -> None:
    """No decoder can tell them from colours. What protects is that no browser takes the file for anything else."""
    picture = Image.new("P", (24, 24))
    picture.putpalette((HTML + bytes(768))[:768])
    picture.putdata([number % 9 for number in range(24 * 24)])
    kept = []
    for data in (saved(picture, "GIF"), painted(HTML * 40)):
        assert HTML in data
        answer = person.upload(data)
        assert answer.status_code == 201
        kept.append(answer.json()["path"])

    for path in kept:
        served = Client().get(path)
        body = b"".join(served)
        assert served["Content-Type"] in {"image/gif", "image/png"}
        assert served["X-Content-Type-Options"] == "nosniff"
        assert served["Content-Security-Policy"] == "default-src 'none'; sandbox"
        opened(body).load()
    assert HTML in b"".join(Client().get(kept[0]))


@pytest.mark.parametrize("draw", marked.MARKED.values(), ids=marked.MARKED)
def test_nothing_that_was_hidden_anywhere_is_stored(draw: Callable[[], bytes]) -> None:
    data = draw()
    assert data.count(marked.MARK) >= 3

    for piece in stored(data):
        assert marked.MARK not in piece
        assert SECRET.encode("utf-16-le") not in piece
        image = opened(piece)
        image.load()
        assert not {"exif", "xmp", "comment", "icc_profile", "photoshop", "XML:com.adobe.xmp"} & set(image.info)


def names_in(data: bytes) -> set[str]:
    """The names of the parts that a file consists of."""
    names = set()
    if data.startswith(b"\x89PNG"):
        at = 8
        while at < len(data):
            names.add(data[at + 4 : at + 8].decode())
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        assert at == len(data)
    elif data.startswith(b"RIFF"):
        at = 12
        while at < len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            names.add(data[at : at + 4].decode())
            at += 8 + size + size % 2
        assert at == len(data) == int.from_bytes(data[4:8], "little") + 8
    else:
        at = 2
        while data[at + 1] != 0xDA:
            names.add(f"{data[at + 1]:02x}")
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        assert data.endswith(b"\xff\xd9")
        assert data.count(b"\xff\xd9") == 1
    return names


def test_stored_files_consist_of_the_parts_of_a_picture_and_of_no_others() -> None:
    allowed = {
        "PNG": {"IHDR", "PLTE", "tRNS", "IDAT", "IEND"},
        "JPEG": {"e0", "db", "c0", "c4"},  # JFIF, quantization, frame, Huffman tables
        "WEBP": {"VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF"},
        "GIF": set(),
    }
    for name, draw in marked.MARKED.items():
        original, avatar, card = stored(draw())
        if name != "GIF":
            assert names_in(original) <= allowed[name.split()[-1]], name
        for piece in (avatar, card):
            assert names_in(piece) <= allowed["WEBP"], name
