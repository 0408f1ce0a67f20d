"""Reading pages as a person would: by what they show."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile


def text_of(response: Any) -> str:
    """The words of a page, without markup and with single spaces."""
    html = response.content.decode()
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


def input_named(response: Any, name: str) -> str:
    """The markup of the form field `name`."""
    found = re.search(rf'<input[^>]*name="{name}"[^>]*>', response.content.decode())
    assert found, f"there is no field {name}"
    return found[0]


def error_beside(response: Any, name: str) -> str:
    """The error text that the field `name` points to by aria-describedby."""
    field = input_named(response, name)
    assert 'aria-invalid="true"' in field
    described = re.search(r'aria-describedby="([^"]*)"', field)
    assert described
    error_id = f"id_{name}_error"
    assert error_id in described[1].split()
    found = re.search(rf'id="{error_id}">(.*?)</div>', response.content.decode(), re.DOTALL)
    assert found
    return unescape(re.sub(r"<[^>]+>", " ", found[1])).strip()


def png(name: str = "photo.png", content: bytes = b"PNG pixels") -> SimpleUploadedFile:
    """A file that the fake of images accepts."""
    return SimpleUploadedFile(name, content, content_type="image/png")


def text_file(name: str = "notes.png") -> SimpleUploadedFile:
    """A file that the fake of images refuses."""
    return png(name, b"text")
