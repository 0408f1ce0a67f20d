"""A backup takes the place of what is in both databases.

Each database is restored in one transaction: what was there is dropped, the dump is loaded, all sessions are ended.
Both transactions wait for each other, and both are committed when both are through; until then nothing has changed,
whatever is killed. Between the two commits lie milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import IO

from django.conf import settings
from django.db import InternalError, NotSupportedError, ProgrammingError, connections

from backups import databases, inventory, programs, verifying
from backups import manifest as manifests
from backups.catalogue import Backup
from backups.errors import Stopped
from backups.manifest import Manifest
from backups.places import BackupPlace
from backups.places.base import CHUNK
from backups.programs import Children, Programs, Running
from backups.verifying import Finding, Progress, Tell

LOCK_SECONDS = 30  # that a transaction of somebody else may hold a table before the restore gives up
_LOADED = b"loaded"
_COMMITTED = b"committed"
_NOTHING_CHANGED = "Nothing was changed: both databases are as they were."
_RESTORED = (
    "Both databases are those of the backup: it need not be restored again. What comes after it was not done: see with "
    "`showmigrations` and `images verify`, and for signing keys that were revoked since, `signing_keys list`."
)

# Everything of ours in the schema public, whatever release made it; nothing that belongs to an extension.
_EMPTIED = """
DO $emptied$
DECLARE
    statements text[];
    statement text;
BEGIN
    SELECT array_agg(format('DROP %s IF EXISTS %s CASCADE', kind, name) ORDER BY turn) INTO statements FROM (
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind,
            format('public.%I', relname) AS name, CASE relkind WHEN 'S' THEN 2 ELSE 1 END AS turn,
            'pg_class'::regclass AS class, oid AS object
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL
        SELECT 'ROUTINE', format('public.%I(%s)', proname, pg_get_function_identity_arguments(oid)), 3,
            'pg_proc'::regclass, oid
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'TYPE', format('public.%I', typname), 4, 'pg_type'::regclass, oid
        FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')
    ) AS ours WHERE NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = ours.class AND objid = ours.object AND deptype = 'e'
    );
    FOREACH statement IN ARRAY coalesce(statements, '{}') LOOP
        EXECUTE statement;
    END LOOP;
END
$emptied$;
"""

# What was signed in at the time of the backup may have been signed out since, and not only by its owner.
_SESSIONS_ENDED = """
WITH ended AS (
    UPDATE public.credentials_session SET ended_at = now(), end_reason = 'ended_by_staff'
    WHERE ended_at IS NULL RETURNING id, account_id
)
INSERT INTO public.credentials_auditevent (what, occurred_at, account_id, session_id, request_id, details)
SELECT 'session_ended', now(), account_id, id, '',
    jsonb_build_object('reason', 'ended_by_staff', 'staff', 'backup restore') FROM ended;
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator has decided: to lose what is there, to let sessions live, to do without the signing keys."""

    yes: bool = False
    keep_sessions: bool = False
    lost_keys: bool = False


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it: the images compared with the store, and whether this release has migrations to apply."""

    manifest: Manifest
    compared: verifying.Compared
    behind: bool


@dataclass
class _Target:
    """A database that is being restored: its psql stands in a transaction. No thread asks Django for a connection."""

    piece: str
    alias: str
    tools: Programs
    psql: Running
    committed: bool = field(default=False)

    @property
    def name(self) -> str:
        return databases.NAMES[self.alias]


def require_restorable(manifest: Manifest, options: Options) -> None:
    """Raises Stopped if this release, its keys or its servers cannot take the backup, or something is in the way."""
    known = databases.known()
    for dump in manifest.databases.values():
        unknown = [migration for migration in dump.migrations if migration not in known]
        if unknown:
            raise Stopped(
                f"The backup was made by release {manifest.release}, which is newer: this one does not know its "
                f"migration {unknown[0]}{f' and {len(unknown) - 1} more' if unknown[1:] else ''}. Nothing was changed. "
                "Run the restore with that release."
            )
    if not options.lost_keys:
        manifests.require_keys(manifest, settings.KEY_ENCRYPTION_KEYS)
    for piece, alias in databases.PIECES.items():
        server, was = databases.server_version(alias), manifest.databases[piece].server
        if int(server.partition(".")[0]) < int(was.partition(".")[0]):
            raise Stopped(
                f"The backup is of PostgreSQL {was}, and the server of the {databases.NAMES[alias]} database is "
                f"{server}, which is older. Nothing was changed. Restore into PostgreSQL {was.partition('.')[0]} or "
                "newer."
            )
    if not options.yes:
        _require_nothing_there(manifest)


def _require_nothing_there(manifest: Manifest) -> None:
    try:
        present, others = databases.contents(), databases.strangers()
    except (ProgrammingError, InternalError, NotSupportedError) as error:
        raise Stopped(
            f"The databases are not empty, and not such that it can be said what is in them: "
            f"{' '.join(str(error).split())}. Nothing was changed. To go on all the same: restore with --yes."
        ) from error
    if not present.empty:
        raise Stopped(
            f"The databases are not empty: {present}. The backup of {manifest.started_at:%Y-%m-%d %H:%M:%S} UTC holds "
            f"{manifest.accounts:,} accounts and {manifest.images:,} images; everything newer would be lost. Nothing "
            "was changed. To go on: keep what is there with `backup create`, then restore with --yes."
        )
    if others:
        raise Stopped(
            f"The databases have tables that this release does not know: {', '.join(others[:5])}"
            f"{f' and {len(others) - 5} more' if others[5:] else ''}. They may be of a newer release, or the address "
            "be that of something else. Nothing was changed. With --yes they are lost."
        )


def restore(place: BackupPlace, backup: Backup, options: Options, *, tell: Tell, progress: Progress) -> Restored:
    """Puts the backup in the place of what is in both databases.

    Raises:
        Stopped: it was refused, or failed; the message says how the databases stand.
        DatabaseError, OSError: the same, where a database or the place failed; nothing was changed.
    """
    manifest = verifying.check_pieces(place, backup, tell=tell, progress=progress)
    if manifest is None:
        raise Stopped(f"Backup {backup.id} is damaged; see above. Nothing was changed. Choose another one.")
    with databases.only_one():
        require_restorable(manifest, options)
        revoked = databases.revoked()
        _load(place, manifest, options)
    try:
        for alias in databases.NAMES:
            connections[alias].close()  # what it knew of the tables is of the past
        behind = any(databases.known() - set(databases.applied(alias)) for alias in databases.NAMES)
        for kid in databases.alive(revoked):
            tell(Finding("alive again", kid, f"it was revoked after the backup: `signing_keys revoke {kid}`"))
        compared = verifying.compare(place, manifest, tell=tell, progress=progress, by_records=False)
    except (Stopped, inventory.Damaged) as error:
        raise Stopped(f"{error} {_RESTORED}") from error
    except BaseException as error:
        error.add_note(_RESTORED)
        raise
    return Restored(manifest, compared, behind)


def _load(place: BackupPlace, manifest: Manifest, options: Options) -> None:
    children = Children()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(databases.PIECES)))
        stack.callback(children.stop)
        try:
            targets = []
            for piece, alias in databases.PIECES.items():
                tools = _tools(alias, manifest, piece)
                targets.append(_Target(piece, alias, tools, stack.enter_context(_psql(alias, tools, children))))
            begun = [pool.submit(_load_one, place, manifest, target, options, children) for target in targets]
            done, _ = wait(begun, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except Stopped as stopped:
            raise Stopped(f"{stopped} {_NOTHING_CHANGED}") from stopped
        except BaseException as error:
            error.add_note(_NOTHING_CHANGED)
            raise
        try:
            with _undisturbed():
                _commit(targets)
        except BaseException as error:
            if not isinstance(error, Stopped) and all(target.committed for target in targets):
                error.add_note(_RESTORED)
            raise


def _tools(alias: str, manifest: Manifest, piece: str) -> Programs:
    made_by = int(manifest.databases[piece].pg_dump.partition(".")[0])
    return programs.find(int(databases.server_version(alias).partition(".")[0]), at_least=made_by)


@contextlib.contextmanager
def _psql(alias: str, tools: Programs, children: Children) -> Iterator[Running]:
    """A session that gives up at the first error, and with it its transaction; so it does when we end."""
    address, environment = programs.reach(databases.parameters(alias))
    arguments = [
        tools.path("psql"),
        "--no-psqlrc",
        "--quiet",
        "--no-password",
        "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=terse",
        "--output=/dev/null",
        f"--dbname={address}",
    ]
    with children.run(arguments, environment, reads=True) as running:
        yield running


def _load_one(place: BackupPlace, manifest: Manifest, target: _Target, options: Options, children: Children) -> None:
    try:
        _say(
            target.psql,
            f"BEGIN;\nSET LOCAL client_min_messages = warning;\nSET LOCAL lock_timeout = '{LOCK_SECONDS}s';\n"
            f"{_EMPTIED}",
        )
        _pour(place, manifest, target, children)
        _say(target.psql, "SET search_path = public;\n")
        if target.piece == "auth.dump" and not options.keep_sessions:
            _say(target.psql, _SESSIONS_ENDED)
        _say(target.psql, f"SET LOCAL statement_timeout = 0;\nANALYZE;\n\\echo {_LOADED.decode()}\n")
        heard = target.psql.stdout.readline().strip()
    except BrokenPipeError:
        heard = b""
    if heard != _LOADED:
        said = target.psql.complaint()
        advice = ""
        if "lock timeout" in said or "deadlock" in said:
            advice = " Somebody works with its tables: stop auth, images and the console, and run this again."
        raise Stopped(f"The {target.name} database was not restored. {said}.{advice}")


def _pour(place: BackupPlace, manifest: Manifest, target: _Target, children: Children) -> None:
    """The dump, as statements, into psql. Raises Stopped if it is not what the manifest says any more."""
    arguments = [
        target.tools.path("pg_restore"),
        "--no-owner",
        "--no-privileges",
        "--no-publications",
        "--no-subscriptions",
        "--schema=public",  # what is in it, and not itself
        "--file=-",
    ]
    with children.run(arguments, {"LC_ALL": "C"}, reads=True) as unpacking:
        faults: list[BaseException] = []

        def feed() -> None:
            digest = hashlib.sha256()
            try:
                for chunk in place.read(f"{manifest.id}/{target.piece}"):
                    digest.update(chunk)
                    _write(unpacking.stdin, chunk)
                if digest.hexdigest() != manifest.pieces[target.piece].sha256:
                    raise Stopped(f"{target.piece} has changed while it was read.")
            except BaseException as error:  # noqa: BLE001 - told by the thread that waits for this one
                faults.append(error)
            finally:
                unpacking.stdin.close()

        feeding = threading.Thread(target=feed, daemon=True)
        feeding.start()
        first = True
        while chunk := unpacking.stdout.read(CHUNK):
            if first:  # servers before 17 do not know it, and newer programs say it to all
                chunk = chunk.replace(b"SET transaction_timeout = 0;\n", b"", 1)
                first = False
            _write(target.psql.stdin, chunk)
        feeding.join()
        if faults:
            raise Stopped(f"The backup could not be read: {faults[0]}.") from faults[0]
        unpacking.finish()


def _commit(targets: list[_Target]) -> None:
    for target in targets:
        try:
            _say(target.psql, f"COMMIT;\n\\echo {_COMMITTED.decode()}\n")
            target.committed = target.psql.stdout.readline().strip() == _COMMITTED
        except BrokenPipeError:
            pass
        if not target.committed:
            said = f"The {target.name} database did not say that it has committed. {target.psql.complaint()}."
            through = [each.name for each in targets if each.committed]
            if not through:
                raise Stopped(f"{said} Run the same command again (with --yes): it begins anew.")
            raise Stopped(
                f"{said} The {' and '.join(through)} database is that of the backup already, so accounts and images do "
                "not fit together. Leave the roles stopped and run the same command again (with --yes): it begins anew."
            )


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """The block runs to its end whatever signal asks us to go; then we heed it."""
    heard: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: heard.append(number))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


def _say(psql: Running, text: str) -> None:
    _write(psql.stdin, text.encode())


def _write(stream: IO[bytes], data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]
