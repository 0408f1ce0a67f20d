"""Through all records, several at a time, saying what was found on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from images.models import Image
from internal import context

PAGE: Final = 500  # records of one query, names of one look-up
THREADS: Final = 4  # while one waits for the store, others decode
FILE_SECONDS: Final = 60.0  # for the files of one image; nobody waits for the answer
PATIENCE: Final = 10  # files in a row that cannot be read, before the store itself is taken to be away

MISSING: Final = "missing"
DAMAGED: Final = "damaged"
UNREADABLE: Final = "unreadable"

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stopped(Exception):
    """The work cannot go on; the message says why, and how to go on later."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or was done about it: what, about which stored name, and why."""

    what: str
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.name}: {self.detail}"


Tell = Callable[[Finding], None]
Progress = Callable[[int, int | None], None]  # so many of so many


def records() -> Iterator[Image]:
    """Every record, in the order of ids; one that is made meanwhile may be left out."""
    page = list(Image.objects.order_by("id")[:PAGE])
    while page:
        yield from page
        page = list(Image.objects.filter(id__gt=page[-1].id).order_by("id")[:PAGE])


def sample(count: int) -> Iterator[Image]:
    """So many records, or all if there are fewer, each as likely as any other."""
    ids = list(Image.objects.order_by("?").values_list("id", flat=True)[:count])
    for start in range(0, len(ids), PAGE):
        yield from Image.objects.filter(id__in=ids[start : start + PAGE])


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[tuple[Item, Result], None, None]:
    """Each item with what `work` makes of it, in the order of the items. Only `work` runs in other threads."""

    def patiently(item: Item) -> Result:
        with context.deadline_of(FILE_SECONDS):
            return work(item)

    with ThreadPoolExecutor(THREADS) as pool:
        begun: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                begun.append((item, pool.submit(patiently, item)))
                if len(begun) >= 4 * THREADS:
                    item, result = begun.popleft()
                    yield item, result.result()
            while begun:
                item, result = begun.popleft()
                yield item, result.result()
        finally:
            for _, result in begun:
                result.cancel()


class Outage:
    """Tells one file that cannot be read from a store that is away."""

    def __init__(self, going_on: str) -> None:
        self._going_on = going_on
        self._in_a_row = 0

    def note(self, findings: Iterable[Finding]) -> None:
        """Hears of each image.

        Raises:
            Stopped: nothing could be read for too long.
        """
        unreadable = [finding for finding in findings if finding.what == UNREADABLE]
        self._in_a_row = self._in_a_row + 1 if unreadable else 0
        if self._in_a_row >= PATIENCE:
            raise Stopped(f"The image store does not answer ({unreadable[-1].detail}). {self._going_on}")
