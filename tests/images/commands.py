"""`manage.py images` as tests call it, and stores with something wrong in them."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from images import library, store
from images.models import Image
from images.upkeep import reaping
from tests.images.pictures import corners, saved

PROJECT = Path(__file__).resolve().parents[2]
PNG = saved(corners(), "PNG")


@dataclass(frozen=True)
class Ran:
    """What a command came to: its exit status, what it told, its summary, and its last words."""

    status: int
    told: list[dict[str, Any]]
    summary: dict[str, Any]
    error: str

    @property
    def findings(self) -> set[tuple[str, str]]:
        """What was told, each with the name that it is about."""
        return {(entry["what"], entry.get("name") or entry["account_id"]) for entry in self.told}


def images(*words: object) -> Ran:
    """Runs `manage.py images` in this process."""
    output, status, error = io.StringIO(), 0, ""
    try:
        call_command("images", *map(str, words), "--json", stdout=output)
    except CommandError as refused:
        status, error = refused.returncode, str(refused)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    summary = lines.pop() if lines and lines[-1]["what"] == "summary" else {}
    return Ran(status, lines, summary, error)


def start(*words: object, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Starts `manage.py images` as a process of its own, on the database of this test."""
    settings = connection.settings_dict
    url = (
        f"postgres://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "IMAGE_ROOT"}
    inherited["SEAWALL_STATE"] = str(PROJECT / "tests")  # and not where an `up` of this checkout has written something
    return subprocess.Popen(
        [sys.executable, "manage.py", "images", *map(str, words)],
        cwd=PROJECT,
        env=inherited | {"DJANGO_SETTINGS_MODULE": "config.settings.images", "DATABASE_URL": url} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stored_image(owner: UUID | None = None, data: bytes = PNG) -> Image:
    """The record of an image that was just stored."""
    return Image.objects.get(id=library.store_image(owner or uuid4(), io.BytesIO(data)).id)


def content_of(name: str) -> bytes | None:
    """What is stored under the name."""
    found = store.find(name)
    if found is None:
        return None
    with found[0] as file:
        return file.read()


def overwrite(name: str, content: bytes) -> None:
    """Something else under the name, as a failing disk would leave it."""
    store.storage().save(name, ContentFile(content))


def flipped(name: str) -> None:
    """One bit of what is stored, turned round."""
    content = content_of(name)
    assert content is not None
    middle = len(content) // 2
    overwrite(name, content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


def later(monkeypatch: pytest.MonkeyPatch, **span: float) -> None:
    """The reaper's clock goes ahead: what is stored now is as old as that."""

    class Later:
        @staticmethod
        def now() -> dt.datetime:
            return timezone.now() + dt.timedelta(**span)

    monkeypatch.setattr(reaping, "timezone", Later)
    monkeypatch.setattr("images.upkeep.verifying.timezone", Later)
