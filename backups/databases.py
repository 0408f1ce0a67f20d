"""What backups know of the two databases: where they are, what is in them, and what is not worth keeping."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Max, Model, Sum

from backups.errors import Stopped

LOCK = 0x5EA3A11_BAC0  # of the auth database: one create, restore or prune at a time
PIECES = {"auth.dump": DEFAULT_DB_ALIAS, "images.dump": "images"}
"""The dumps of a backup, and the alias of the database that each is of."""

SHORT_LIVED = (
    "credentials_signaturenonce",
    "images_signaturenonce",
    "credentials_change",
    "credentials_change_pruned",
    "images_change",
    "images_change_pruned",
    "django_session",
)
"""Tables of which no rows are kept, where they exist: they are over within hours, or must not come back to life."""

NAMES = {DEFAULT_DB_ALIAS: "auth", "images": "images"}
"""What people call the databases."""


def model(label: str) -> type[Model]:
    """A model of another app, which backups do not import."""
    return apps.get_model(label)


@dataclass(frozen=True, slots=True)
class Contents:
    """How much is in the databases; times of the newest ones in ISO 8601, or None."""

    accounts: int
    staff: int
    images: int
    image_bytes: int
    newest_account: str | None
    newest_image: str | None

    def __str__(self) -> str:
        staff = f", {self.staff:,} staff users" if self.staff else ""
        newest = max(filter(None, (self.newest_account, self.newest_image)), default="")
        return f"{self.accounts:,} accounts{staff}, {self.images:,} images" + (
            f", the newest of {newest}" if newest else ""
        )

    @property
    def empty(self) -> bool:
        """Whether nobody would miss anything."""
        return not (self.accounts or self.staff or self.images)


def contents() -> Contents:
    """What is there now; nothing where there are no tables."""
    accounts, newest_account = _count("credentials.Account")
    images, newest_image = _count("images.Image")
    held = 0
    if images:
        held = cast(int, model("images.Image")._default_manager.aggregate(held=Sum("size_bytes"))["held"])
    return Contents(accounts, _count("auth.User", "date_joined")[0], images, held, newest_account, newest_image)


def strangers() -> list[str]:
    """Tables in both databases that this release does not have, as `database.table`: of a newer one, or of others."""
    ours = {each._meta.db_table for each in apps.get_models(include_auto_created=True)}
    found = []
    for alias, name in NAMES.items():
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
                " AND relname <> ALL (%s) AND NOT EXISTS (SELECT FROM pg_depend"
                " WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e') ORDER BY 1",
                [[*ours, *SHORT_LIVED, "django_migrations"]],
            )
            found += [f"{name}.{table}" for (table,) in cursor.fetchall()]
    return found


def revoked() -> set[str]:
    """The ids of the signing keys that were withdrawn, as far as the auth database can still tell."""
    events = model("credentials.AuditEvent")._default_manager.filter(what="signing_key_revoked")
    try:
        return {kid for kid in events.values_list("details__kid", flat=True) if isinstance(kid, str)}
    except (DatabaseError, InterfaceError):  # it is empty, or wrecked: that is why something is restored
        return set()


def alive(kids: set[str]) -> list[str]:
    """Those of these signing keys whose tokens are accepted."""
    keys = model("credentials.SigningKey")._default_manager.filter(pk__in=kids).exclude(state="retired")
    return sorted(keys.values_list("pk", flat=True))


def _count(label: str, moment: str = "created_at") -> tuple[int, str | None]:
    found = model(label)
    alias = "images" if found._meta.app_label == "images" else DEFAULT_DB_ALIAS
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"public.{found._meta.db_table}"])
        if cursor.fetchone() == (None,):
            return 0, None
    rows = found._default_manager.all()
    newest: dt.datetime | None = rows.aggregate(newest=Max(moment))["newest"]
    return rows.count(), newest.isoformat() if newest else None


def parameters(alias: str) -> dict[str, object]:
    """How libpq reaches the database, the password among it."""
    ours = {"context", "cursor_factory", "prepare_threshold", "server_side_binding", "client_encoding"}
    given: dict[str, object] = connections[alias].get_connection_params()
    return {name: value for name, value in given.items() if name not in ours} | {"application_name": "seawall-backup"}


def server_version(alias: str) -> str:
    """The full version, such as `18.6`."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW server_version")
        row = cursor.fetchone()
    return str(row[0]).partition(" ")[0] if row else ""


def applied(alias: str) -> list[str]:
    """The migrations that the database says were applied, as `app.name`, in order; none where there are no tables."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass('public.django_migrations')")
        if cursor.fetchone() == (None,):
            return []
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY id")
        return [f"{app}.{name}" for app, name in cursor.fetchall()]


def known() -> set[str]:
    """The migrations that this release has, as `app.name`."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    return {f"{app}.{name}" for app, name in {*loader.disk_migrations, *replaced}}


def connected(alias: str) -> int:
    """How many connections others have to the database at this moment."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name LIKE 'seawall-%'"
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """The block runs while no other create, restore or prune does. Raises Stopped if one does."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        if cursor.fetchone() != (True,):
            raise Stopped("Another `backup create`, `restore` or `prune` is at work: run this again when it has ended.")
    try:
        yield
    finally:
        with contextlib.suppress(DatabaseError, InterfaceError), connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


@contextlib.contextmanager
def snapshots() -> Iterator[dict[str, str]]:
    """One moment of each database, milliseconds apart: what Django reads inside the block, and pg_dump by its id."""
    with contextlib.ExitStack() as stack:
        cursors = {}
        for alias in NAMES:
            stack.enter_context(transaction.atomic(using=alias))
            cursors[alias] = cursor = stack.enter_context(connections[alias].cursor())
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SET LOCAL statement_timeout = 0")
        yield {alias: _exported(cursor) for alias, cursor in cursors.items()}


def _exported(cursor: Any) -> str:
    cursor.execute("SELECT pg_export_snapshot()")
    return str(cursor.fetchone()[0])
