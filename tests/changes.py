"""What the change feeds of auth and images have in common: transactions of others, and a reader."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
from django.db import connection

from internal.changes import ChangeFeed

EVERYTHING = "everything"


@contextlib.contextmanager
def someone_else() -> Iterator[psycopg.Connection[Any]]:
    """A connection of its own to the test database; what it has begun is undone at the end."""
    place = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    with contextlib.closing(psycopg.connect(**{key: str(place[name]) for key, name in names.items()})) as other:
        yield other


class Reader:
    """Somebody who asks a feed again and again, from the place of the answer before."""

    def __init__(self, feed: ChangeFeed) -> None:
        self.feed = feed
        self.last = feed.since(None)

    def news(self) -> set[UUID] | str:
        """What has changed since it asked last; EVERYTHING where that is not known in detail."""
        before, self.last = self.last, self.feed.since(self.last.position)
        if self.last.all or self.last.epoch != before.epoch:
            return EVERYTHING
        assert len(self.last.accounts) == len(set(self.last.accounts))
        return set(self.last.accounts)


def check_interleaved(feed: ChangeFeed, accounts: list[UUID], change: Callable[[Any, UUID], None]) -> None:
    """Many transactions at once, some of them undone, some with savepoints: each is told after its commit, just once.

    Args:
        accounts: one for each transaction.
        change: changes that account on a connection.
    """
    reader, seen = Reader(feed), list[UUID]()
    committed = set[UUID]()
    numbered = enumerate(accounts)
    lock = threading.Lock()
    failures = list[BaseException]()

    def run() -> None:
        try:
            with someone_else() as other:
                while True:
                    with lock:
                        number, account = next(numbered, (0, None))
                    if account is None:
                        return
                    other.execute("SELECT pg_current_xact_id()")  # begins, and is running from now on
                    other.execute("SAVEPOINT inner_one")
                    change(other, account)
                    if number % 3 == 0:
                        other.execute("ROLLBACK TO inner_one")
                        change(other, account)
                    if number % 4 == 0:
                        other.rollback()
                        continue
                    other.commit()
                    with lock:
                        committed.add(account)
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with lock:
            surely = set(committed)
        news = reader.news()
        assert isinstance(news, set)
        seen += news
        assert surely <= set(seen), "a transaction had committed before the call, and was not told"
    for thread in threads:
        thread.join()
    news = reader.news()
    assert isinstance(news, set)
    seen += news

    assert not failures, failures
    assert set(seen) == committed
    assert len(seen) == len(committed), "told twice"
    assert 0 < len(committed) < len(accounts)
