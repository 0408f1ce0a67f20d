"""What is done inside a role's settings, in a process of its own: people made by the thousand, changes made by hand.

Run as `python -m benchmarks.gateway.inside` in the environment of auth or images. It reads one JSON object a line
(`{"do": …}`), does that, and answers with one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import django

_BATCH = 5_000  # records


def main() -> None:
    """Does what it is told, until there is nothing more to read."""
    django.setup()
    tasks: dict[str, Callable[..., dict[str, Any]]] = {
        "accounts": make_accounts,
        "sessions": start_sessions,
        "rename": rename,
        "fill": fill,
    }
    for line in sys.stdin:
        task = json.loads(line)
        answer = tasks[task.pop("do")](**task)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def make_accounts(count: int) -> dict[str, Any]:
    """That many accounts, which share one password hash, so that nobody waits for a thousand of them. Their ids."""
    from django.utils import timezone

    from auth import passwords
    from auth.models import Account

    shared = passwords.hash_password(secrets.token_urlsafe(24), wait=10)
    now = timezone.now()
    accounts = []
    for number in range(count):
        email = f"{secrets.token_hex(10)}@example.org"
        accounts.append(
            Account(
                name=f"Person {number:04}",
                email=email,
                email_key=email,
                password_hash=shared,
                created_at=now,
                last_sign_in_at=now,
                previous_sign_in_at=now,
            )
        )
    Account.objects.bulk_create(accounts)
    return {"ids": [str(account.id) for account in accounts]}


def start_sessions(ids: list[str]) -> dict[str, Any]:
    """A new session for each account; the access tokens."""
    from django.db import transaction
    from django.utils import timezone

    from auth import sessions
    from auth.models import Account

    found = Account.objects.in_bulk(ids)
    now = timezone.now()
    with transaction.atomic():
        tokens = [
            sessions.start(account=found[UUID(each)], device="Benchmark", address="127.0.0.1", now=now).access_token
            for each in ids
        ]
    return {"tokens": tokens}


def rename(account: str, name: str) -> dict[str, Any]:
    """Changes a name past everything, by SQL."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("UPDATE credentials_account SET name = %s WHERE id = %s", [name, account])
    return {}


def fill(path: str, owners: dict[str, int]) -> dict[str, Any]:
    """Copies of one image, records and files: for each owner that many, the newest of them the profile image."""
    import datetime as dt

    from django.db import connection

    from images import decoding, store
    from images.models import Image, Owner
    from internal.context import deadline_of

    with open(path, "rb") as source, deadline_of(60), decoding.converted(source) as made:
        contents = [piece.file.read() for piece in (made.original, made.avatar, made.card)]
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    root = Path(store.storage().path(""))
    (root / store.FOLDER).mkdir(exist_ok=True)
    images = []
    for owner, count in owners.items():
        for number in range(count):
            image = Image(
                id=uuid4(),
                owner=UUID(owner),
                content_type=made.kind.content_type,
                extension=made.kind.extension,
                width=made.width,
                height=made.height,
                size_bytes=made.original.size,
                sha256=hashlib.sha256(contents[0]).hexdigest(),
                animated=False,
                created_at=moment + dt.timedelta(seconds=number),
                is_profile_image=number == count - 1,
            )
            for name, content in zip(reversed(image.stored_names), reversed(contents), strict=True):
                (root / name).write_bytes(content)
            images.append(image)
    Image.objects.bulk_create(images, batch_size=_BATCH)
    Owner.objects.bulk_create(
        [
            Owner(account_id=UUID(owner), image_count=count, stored_bytes=count * made.original.size)
            for owner, count in owners.items()
        ]
    )
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {Image._meta.db_table}, {Owner._meta.db_table}")
    return {"images": len(images)}


if __name__ == "__main__":
    main()
