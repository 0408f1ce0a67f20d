"""Auth tells whose account or session has changed: exactly what was committed since, whoever changed it."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone

from auth import accounts, housekeeping, key_rotation, sessions, signing_keys
from auth.changes import feed
from auth.models import Account, Session, SignatureNonce, SigningKey
from internal import contracts, signing
from internal.changes import MOST_ACCOUNTS, MOST_RUNNING
from tests.auth import calls
from tests.changes import EVERYTHING, Reader, check_interleaved, someone_else

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "changes"
DAY = dt.timedelta(days=1)


def new_account() -> UUID:
    return Account.objects.create(name="Ada", email=f"{uuid4().hex}@example.org", password_hash="x").id


def new_session(account: UUID, *, began: dt.timedelta = DAY) -> Session:
    """A session that was begun that long ago, and not used since."""
    at = timezone.now() - began
    times = {"created_at": at, "last_used_at": at, "rotated_at": at}
    return Session.objects.create(
        account_id=account, expires_at=at + 14 * DAY, absolute_expires_at=at + 90 * DAY, **times
    )


def rename(other: Any, account: UUID) -> None:
    other.execute("UPDATE credentials_account SET name = name || '.' WHERE id = %s", [account])


def execute(statement: str, *values: Any) -> None:
    """A statement of whoever has a shell in the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def asked(query: str = "") -> Any:
    path = f"/internal/v1/changes{query}"
    headers = signing.sign(calls.settings.SERVICE_KEYS, method="GET", path=path, body_digest=signing.EMPTY_DIGEST)
    return Client().get(path, headers=headers)


# what is told


def test_what_changes_an_answer_about_the_account_is_told_and_a_mere_use_of_a_session_is_not() -> None:
    me = new_account()
    mine, stranger = new_session(me), new_account()
    theirs = new_session(stranger)
    reader = Reader(feed)
    assert reader.news() == set()

    accounts.update(session=mine, name="Countess")
    assert reader.news() == {me}
    assert reader.news() == set()
    Session.objects.filter(pk=mine.pk).update(expires_at=mine.expires_at + DAY, last_used_at=timezone.now())
    assert reader.news() == set()
    Session.objects.filter(pk=mine.pk).update(expires_at=mine.expires_at)
    assert reader.news() == {me}
    sessions.end(account_id=me, session_id=mine.id)
    assert reader.news() == {me}
    Session.objects.filter(pk=theirs.pk).update(account_id=me)
    assert reader.news() == {me, stranger}
    Session.objects.filter(pk=theirs.pk).delete()
    assert reader.news() == {me}
    Account.objects.filter(pk=stranger).delete()
    assert reader.news() == {stranger}


def test_a_sign_in_and_closing_an_account_are_told() -> None:
    me = UUID(calls.register()["id"])
    reader = Reader(feed)

    token = calls.sign_in()["access_token"]
    assert reader.news() == {me}
    assert calls.personal("DELETE", "account", token).status_code == 204
    assert reader.news() == {me}


def test_deleting_sessions_that_were_over_tells_nothing() -> None:
    me = new_account()
    new_session(me, began=60 * DAY)
    Session.objects.filter(pk=new_session(me, began=40 * DAY).pk).update(
        ended_at=timezone.now() - 35 * DAY, end_reason="signed_out"
    )
    reader = Reader(feed)

    assert housekeeping.purge().sessions == 2
    assert reader.news() == set()


def test_a_key_that_is_withdrawn_is_told_to_everybody_and_a_rotation_to_nobody() -> None:
    signing_keys.ensure_active()
    reader = Reader(feed)
    key_rotation.rotate(at_once=True)
    assert reader.news() == set()

    key_rotation.revoke([signing_keys.ensure_active().kid])
    assert reader.news() == EVERYTHING
    SigningKey.objects.filter(state="retired").delete()
    assert reader.news() == EVERYTHING
    assert reader.news() == set()


def test_several_changes_of_one_transaction_are_one() -> None:
    me = new_account()
    reader = Reader(feed)
    with someone_else() as other:
        for _ in range(3):
            rename(other, me)
        other.commit()

    assert reader.news() == {me}


@pytest.mark.parametrize("table", ["credentials_account", "credentials_session", "credentials_signingkey"])
def test_emptying_a_table_at_once_changes_everything(table: str) -> None:
    reader = Reader(feed)
    execute(f"TRUNCATE {table} CASCADE")

    assert reader.news() == EVERYTHING
    assert reader.news() == set()


def test_more_accounts_than_an_answer_holds_are_everything() -> None:
    def many(number: int) -> None:
        Account.objects.bulk_create(
            Account(name="Ada", email="", email_key=f"{n}@example.org", password_hash="x") for n in range(number)
        )

    many(MOST_ACCOUNTS)
    one_more = new_account()
    reader = Reader(feed)
    Account.objects.exclude(pk=one_more).update(name="Grace")
    news = reader.news()
    assert (len(news), isinstance(news, set)) == (MOST_ACCOUNTS, True)

    Account.objects.update(name="Ada")  # one statement
    assert reader.news() == EVERYTHING
    Account.objects.exclude(pk=one_more).update(name="Grace")  # two transactions
    Account.objects.filter(pk=one_more).update(name="Grace")
    assert reader.news() == EVERYTHING
    assert reader.news() == set()


# when it is told


def test_a_transaction_that_was_running_through_several_answers_is_told_once_it_has_committed() -> None:
    slow, quick, undone = new_account(), new_account(), new_account()
    reader = Reader(feed)
    with someone_else() as long, someone_else() as failing:
        rename(long, slow)
        rename(failing, undone)
        for _ in range(3):
            execute("UPDATE credentials_account SET name = 'Grace' WHERE id = %s", quick)
            assert reader.news() == {quick}, "told once, though an older transaction is still running"
            assert reader.news() == set()
        failing.rollback()
        assert reader.news() == set()
        long.commit()

    assert reader.news() == {slow}
    assert reader.news() == set()


def test_a_change_behind_a_savepoint_is_told_with_its_transaction() -> None:
    kept, undone = new_account(), new_account()
    reader = Reader(feed)
    with someone_else() as other:
        other.execute("SAVEPOINT one")
        rename(other, kept)
        other.execute("RELEASE one")
        other.execute("SAVEPOINT two")
        rename(other, undone)
        other.execute("ROLLBACK TO two")
        assert reader.news() == set()
        other.commit()

    assert reader.news() == {kept}


def test_many_transactions_at_once_are_each_told_after_their_commit_and_just_once() -> None:
    check_interleaved(feed, [new_account() for _ in range(240)], rename)


def test_a_position_names_a_bounded_number_of_running_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("internal.changes.MOST_RUNNING", 2)
    slow, quick = new_account(), new_account()
    reader = Reader(feed)
    with someone_else() as one, someone_else() as two, someone_else() as three:
        for other in (one, two, three):
            other.execute("SELECT pg_current_xact_id()")
        execute("UPDATE credentials_account SET name = 'Grace' WHERE id = %s", quick)
        assert reader.news() == {quick}
        assert reader.last.position.endswith("-")
        assert reader.news() == {quick}, "told again rather than not at all"
        rename(one, slow)
        one.commit()
        assert reader.news() == {quick, slow}
    assert MOST_RUNNING * 21 < 3_000, "fits into a request line"


# what a position is worth


def test_an_epoch_is_another_one_when_somebody_could_have_changed_something_untold() -> None:
    me = new_account()
    reader = Reader(feed)
    execute("ALTER TABLE credentials_account DISABLE TRIGGER tell_updated")
    try:
        assert reader.news() == EVERYTHING
        first = reader.last
        execute("UPDATE credentials_account SET name = 'Grace' WHERE id = %s", me)
        assert reader.news() == EVERYTHING
        assert reader.last.all
    finally:
        execute("ALTER TABLE credentials_account ENABLE ALWAYS TRIGGER tell_updated")
    assert reader.news() == EVERYTHING
    assert reader.last.epoch != first.epoch
    assert reader.news() == set()


def test_a_table_that_is_written_anew_is_another_epoch() -> None:
    """`ALTER TABLE … USING` changes every row, and no trigger hears of it."""
    me = new_account()
    reader = Reader(feed)
    length = Account._meta.get_field("name").max_length
    execute(f"ALTER TABLE credentials_account ALTER COLUMN name TYPE varchar({length}) USING upper(name)")

    assert Account.objects.get(pk=me).name == "ADA"
    assert reader.news() == EVERYTHING
    assert reader.news() == set()


def test_whoever_has_another_search_path_or_loads_as_a_replica_is_seen() -> None:
    me = new_account()
    reader = Reader(feed)
    with someone_else() as other:
        other.execute("SET search_path = ''")
        other.execute("UPDATE public.credentials_account SET name = 'Grace' WHERE id = %s", [me])
        other.commit()

    assert reader.news() == {me}
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tgenabled::text FROM pg_trigger WHERE tgname LIKE 'tell\\_%%'")
        assert cursor.fetchall() == [("A",)]  # session_replication_role = replica does not pass them by


def test_rows_that_came_with_a_copy_from_another_server_are_passed_over() -> None:
    me, elsewhere = new_account(), uuid4()
    reader = Reader(feed)
    try:
        execute("INSERT INTO credentials_change (xid, account) VALUES ('9000000000000000000', %s)", elsewhere)
        execute("UPDATE credentials_account SET name = 'Grace' WHERE id = %s", me)
        assert reader.news() == {me}
    finally:
        execute("DELETE FROM credentials_change WHERE account = %s", elsewhere)


def test_what_was_pruned_elsewhere_hides_nothing_that_is_pruned_here() -> None:
    """It came with a copy. What ran for longer than changes are kept is old when it is committed."""
    slow = new_account()
    try:
        execute("INSERT INTO credentials_change_pruned (xid) VALUES ('9000000000000000000')")
        with someone_else() as other:
            rename(other, slow)
            position = feed.since(None).position
            other.commit()
        execute("UPDATE credentials_change SET at = now() - interval '61 minutes'")
        assert housekeeping.purge().changes

        assert feed.since(position).all
    finally:
        execute("DELETE FROM credentials_change_pruned WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())")


@pytest.mark.parametrize("number", [10**15, 10**19, 10**20 - 1])
def test_a_position_ahead_of_the_server_means_that_everything_may_have_changed(number: int) -> None:
    assert feed.since(f"{number}-{number}-").all


def test_what_was_pruned_is_not_missed() -> None:
    first, second, third = new_account(), new_account(), new_account()
    before = feed.since(None)
    rename(connection.cursor(), first)
    rename(connection.cursor(), second)
    between = feed.since(before.position)
    execute("UPDATE credentials_change SET at = now() - interval '61 minutes'")
    rename(connection.cursor(), third)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM credentials_change")
        [rows] = cursor.fetchone()

    assert housekeeping.purge().changes == rows - 1
    assert housekeeping.purge().changes == 0

    assert feed.since(before.position).all
    after = feed.since(between.position)
    assert (set(after.accounts), after.all, after.epoch) == ({third}, False, before.epoch)


# the call


def test_the_call_says_what_the_feed_says_and_writes_nothing() -> None:
    me = new_account()
    first = contracts.Changes.from_json(asked().json())
    assert (first.accounts, first.all) == ((), True)
    with someone_else() as running:
        running.execute("SELECT pg_current_xact_id()")
        second = contracts.Changes.from_json(asked(f"?after={first.position}").json())
        rename(connection.cursor(), me)
        response = asked(f"?after={second.position}")

    told = contracts.Changes.from_json(response.json())
    assert (told.accounts, told.all, told.epoch) == ((me,), False, first.epoch)
    assert response["Cache-Control"] == "no-store"
    assert not SignatureNonce.objects.exists()


def test_it_is_one_statement(django_assert_num_queries: Any) -> None:
    position = feed.since(None).position
    with django_assert_num_queries(1):
        assert asked(f"?after={position}").status_code == 200


@pytest.mark.parametrize(
    "after", ["", "rubbish", "0-0-", "7-5-", "5-7-9", "5-9-8.6", "5-5-" + "5." * 200 + "5", "1:1:", "1-1-%00", "-1-1-"]
)
def test_what_is_no_position_is_refused(after: str) -> None:
    response = asked(f"?after={after}")

    assert calls.problem(response) == (422, "invalid_input", [("after", "invalid")])


def test_nobody_but_a_service_is_told(grant: dict[str, Any]) -> None:
    assert calls.problem(calls.personal("GET", PATH, grant["access_token"]))[:2] == (401, "invalid_signature")
    assert calls.problem(Client().get("/internal/v1/changes"))[:2] == (401, "invalid_signature")
    for_another = signing.sign(
        calls.settings.SERVICE_KEYS, method="GET", path="/internal/v1/changes", body_digest=signing.EMPTY_DIGEST
    )
    other_query = Client().get("/internal/v1/changes?after=1-1-", headers=for_another)
    assert calls.problem(other_query)[:2] == (401, "invalid_signature")


def test_before_its_migration_everything_may_have_changed() -> None:
    """And it goes back and forth while the role is at work."""
    executor = MigrationExecutor(connection)
    executor.migrate([("credentials", "0007_staff_changes_are_events")])
    try:
        without = Reader(feed)
        assert without.news() == EVERYTHING
        assert without.last.all
        new_account()
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert without.news() == EVERYTHING
    assert without.news() == set()
