"""What is measured inside the images role's settings, in a process of its own.

Run as `python -m benchmarks.images.inside`. It reads one JSON object a line (`{"do": …}`), does that, and answers with
one. Memory is given back as under gunicorn (see config/gunicorn.conf.py).
"""

from __future__ import annotations

import ctypes
import datetime as dt
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import django

_M_MMAP_THRESHOLD = -3
_ACCOUNT = 500  # images of one account
_BATCH = 5_000  # records


def main() -> None:
    """Does what it is told, until there is nothing more to read."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
    django.setup()
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "work": work,
        "store": store_with_record,
        "fill": fill,
        "verify": verify,
    }
    for line in sys.stdin:
        task = json.loads(line)
        answer = tasks[task.pop("do")](**task)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def work(path: str) -> dict[str, float]:
    """The unavoidable: decode, orient, encode, derive, hash, store three files durably. Seconds."""
    from images import decoding, store
    from internal.context import deadline_of

    with open(path, "rb") as source, deadline_of(60):
        spent, began = time.process_time(), time.perf_counter()
        with decoding.converted(source) as made:
            converted = time.perf_counter()
            names = store.names(uuid4(), made.kind.extension)
            pieces = (made.original, made.avatar, made.card)
            store.put({name: piece.file for name, piece in zip(names, pieces, strict=True)})
        ended, spent = time.perf_counter(), time.process_time() - spent
        store.remove(names)
    return {"seconds": ended - began, "converting": converted - began, "storing": ended - converted, "cpu": spent}


def store_with_record(path: str, owner: str) -> dict[str, float]:
    """The same with its record in the database. Seconds."""
    from images import library
    from internal.context import deadline_of

    with open(path, "rb") as source, deadline_of(60):
        began = time.perf_counter()
        image = library.store_image(UUID(owner), source)
        seconds = time.perf_counter() - began
        library.delete_image(UUID(owner), image.id)
    return {"seconds": seconds}


def fill(path: str, images: int, owner: str) -> dict[str, Any]:
    """Makes that many copies of one image, records and files: half of them for the owner, the rest for accounts of 500.

    Answers with the name of one of them.
    """
    from django.db import connection

    from images import decoding, store
    from images.models import Image, Owner
    from internal.context import deadline_of

    with open(path, "rb") as source, deadline_of(60), decoding.converted(source) as made:
        contents = [piece.file.read() for piece in (made.original, made.avatar, made.card)]
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    root = Path(store.storage().path(""))
    (root / store.FOLDER).mkdir(exist_ok=True)
    keepers: dict[UUID, int] = {}
    name = ""

    def copies() -> Iterator[Image]:
        nonlocal name
        other = uuid4()
        for number in range(images):
            if number % (2 * _ACCOUNT) == 0:
                other = uuid4()
            keeper = other if number % 2 else UUID(owner)
            keepers[keeper] = keepers.get(keeper, 0) + 1
            image = Image(
                id=uuid4(),
                owner=keeper,
                content_type=made.kind.content_type,
                extension=made.kind.extension,
                width=made.width,
                height=made.height,
                size_bytes=made.original.size,
                sha256=hashlib.sha256(contents[0]).hexdigest(),
                animated=False,
                created_at=moment + dt.timedelta(seconds=number / 10),
            )
            for name, content in zip(reversed(image.stored_names), reversed(contents), strict=True):
                (root / name).write_bytes(content)
            yield image

    rest = copies()
    while batch := list(islice(rest, _BATCH)):
        Image.objects.bulk_create(batch)
    Owner.objects.bulk_create(
        [
            Owner(account_id=keeper, image_count=count, stored_bytes=count * made.original.size)
            for keeper, count in keepers.items()
        ],
        update_conflicts=True,
        unique_fields=["account_id"],
        update_fields=["image_count", "stored_bytes"],
    )
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {Image._meta.db_table}, {Owner._meta.db_table}")
    return {"name": name}


def verify(sample: int | None) -> dict[str, Any]:
    """Verifies every image, or some. Seconds, and how many were found well."""
    from images.upkeep import reaping, verifying

    began = time.perf_counter()
    done = verifying.verify(
        sample=sample,
        older_than=reaping.MINIMUM_AGE,
        repair_counters=False,
        tell=lambda finding: None,
        tell_miscount=lambda miscount: None,
        progress=lambda done, total: None,
    )
    return {"seconds": time.perf_counter() - began, "images": done.images, "ok": done.ok}


if __name__ == "__main__":
    main()
