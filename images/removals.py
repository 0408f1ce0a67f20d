"""The bytes of deleted images, until they are gone.

What is deleted writes the names of its files in the same transaction, and a name stays written until its file is gone:
whatever fails or dies in between, it is known what has to go. It is tried at once, then again and again by a thread of
this process, by a watch for those that died, and by `images reap`. Several may do it at the same time; a removal can be
repeated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from django.db import Error, connections, router, transaction

from images import metrics, store
from images.models import Image, Removal
from images.store.base import FOLDER
from internal.context import current_deadline, deadline_of

log = structlog.get_logger(__name__)

AT_ONCE_SECONDS: Final = 1.0  # that somebody who deletes waits for the store
BATCH: Final = 100  # files
BATCH_SECONDS: Final = 5.0  # the database ends a transaction in which nothing happens for ten
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds
WATCH_PAUSE = 20.0  # seconds


@dataclass(slots=True)
class CarriedOut:
    """Which files are gone now, and which could not be removed, each with the reason."""

    gone: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def schedule(names: Iterable[str]) -> None:
    """Has these files removed as soon as the transaction at hand has committed, whatever happens then."""
    names = list(names)
    Removal.objects.bulk_create([Removal(name=name) for name in names], ignore_conflicts=True)
    transaction.on_commit(partial(_at_once, names), using=router.db_for_write(Removal))


def revoke(names: Iterable[str]) -> None:
    """These names are about to be given again: waits for a removal of them that has begun, and has no other begin."""
    Removal.objects.filter(name__in=list(names)).delete()


def carry_out() -> CarriedOut:
    """Removes whatever waits, except what another process removes just now; stops where nothing can be removed.

    Raises:
        django.db.Error: the database does not answer.
    """
    done = CarriedOut()
    last = ""
    while names := _carry_out_after(last, done):
        last = names[-1]
        if all(name in done.left for name in names):
            break
    return done


def _carry_out_after(last: str, done: CarriedOut) -> list[str]:
    with transaction.atomic(using=router.db_for_write(Removal)), deadline_of(BATCH_SECONDS):
        waiting = Removal.objects.select_for_update(skip_locked=True).filter(name__gt=last).order_by("name")
        names = list(waiting.values_list("name", flat=True)[:BATCH])
        recorded = _recorded(names)
        left = store.storage().remove([name for name in names if name not in recorded]) if names else {}
        Removal.objects.filter(name__in=[name for name in names if name not in left]).delete()
    done.gone += [name for name in names if name not in left and name not in recorded]
    done.left |= left
    return names


def _recorded(names: list[str]) -> set[str]:
    """Those that a record has: nothing may ever take them away."""
    start = len(FOLDER) + 1
    images = Image.objects.filter(id__in={UUID(name[start : start + 36]) for name in names})
    return {name for image in images for name in image.stored_names}


def _at_once(names: list[str]) -> None:
    """What can be removed now; never an error of the person, who has deleted for good."""
    try:
        with deadline_of(min(AT_ONCE_SECONDS, current_deadline().remaining())):
            left = store.remove(names)
        Removal.objects.filter(name__in=[name for name in names if name not in left]).delete()
    except Exception as error:  # noqa: BLE001 - whatever it is, the thread tries again
        log.error("image_removal_failed", reason=type(error).__name__)
        left = dict.fromkeys(names, "")
    if left:
        retries.wake()


class Retries:
    """Tries again in a thread, soon and then more and more rarely, until nothing waits any more."""

    def __init__(self, work: Callable[[], bool]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Hears that something could not be removed."""
        with self._lock:
            self._woken.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="image-removals", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if self._woken.wait(pause):  # something new: not at once, for a store that is away is not back yet
                self._woken.clear()
                pause = FIRST_PAUSE
                time.sleep(pause)
            else:
                pause = min(2 * pause, LONGEST_PAUSE)
            through = self._work()
            with self._lock:
                if through and not self._woken.is_set():
                    self._thread = None
                    return


def _try_again() -> bool:
    """One attempt; whether nothing waits any more."""
    try:
        done = carry_out()
        if done.gone:
            log.info("image_bytes_removed_later", files=len(done.gone))
        return not Removal.objects.exists()
    except Exception as error:  # noqa: BLE001 - the thread goes on, whatever is wrong now
        log.error("image_removal_failed", reason=type(error).__name__)
        return False
    finally:
        connections[router.db_for_write(Removal)].close()


retries = Retries(_try_again)


def watch() -> None:
    """Carries out for ever what processes that died have left, and says how much waits; runs in a thread of its own."""
    while True:
        look()
        time.sleep(WATCH_PAUSE)


def look() -> None:
    """One attempt at whatever waits, and the gauge of what is left after it."""
    _try_again()
    with suppress(Error):
        metrics.REMOVALS_WAITING.set(Removal.objects.count())
    connections[router.db_for_write(Removal)].close()
