"""What an upload, a page, a read and a verification cost in a store of a thousand images, and in one of many more."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.images import pictures
from benchmarks.images.extent import Extent
from benchmarks.images.figures import Figure, alternate, at_most, ratios
from benchmarks.images.people import Person
from benchmarks.images.servers import fetch
from benchmarks.images.workbench import Workbench, workbench
from tests.support import System, running_system

UPLOADS, PAGES, READS, SAMPLE = 10, 20, 50, 1_000  # of one turn
LEAST = 100  # images of a store
NEAR_ONE = at_most(1.25)
LARGEST_PAGE = 100  # images


@dataclass
class Store:
    """A running system with some images in it.

    Attributes:
        keeper: an account that has half of them; its list goes on from `cursor`, in the middle.
        visitor: an account that has none.
        read_url: the address of an image.
    """

    images: int
    system: System
    inside: Workbench
    keeper: Person
    visitor: Person
    read_url: str
    cursor: str

    def upload(self) -> float:
        """Seconds for an upload, straight to images."""
        image = pictures.tiny()
        spent = 0.0
        for _ in range(UPLOADS):
            seconds, image_id = self.visitor.upload_to_images(image)
            self.visitor.delete(image_id)
            spent += seconds
        return spent / UPLOADS

    def page(self, cursor: str | None) -> float:
        """Seconds for a page of the keeper's list."""
        return sum(self.keeper.list_images(cursor=cursor)[0] for _ in range(PAGES)) / PAGES

    def read(self) -> float:
        """Seconds for a read through `files`."""
        began = time.perf_counter()
        for _ in range(READS):
            fetch(self.read_url)
        return (time.perf_counter() - began) / READS

    def verify_one(self) -> float:
        """Seconds for one image of a sample."""
        done = self.inside.do("verify", sample=SAMPLE)
        assert done["ok"], "images that were just stored are not well"
        return float(done["seconds"]) / float(done["images"])

    def verify_all(self) -> float:
        """Seconds for every image, and for the search for files without a record."""
        done = self.inside.do("verify", sample=None)
        assert (done["ok"], done["images"]) == (True, self.images), "images that were just stored are not well"
        return float(done["seconds"])


def growth(extent: Extent) -> list[Figure]:
    """Stores of several sizes side by side."""
    rows: list[Figure] = []
    with contextlib.ExitStack() as stack:
        stores = [_filled(stack, images) for images in extent.stores]
        least = stores[0]
        measures: dict[str, Callable[[Store], Callable[[], float]]] = {
            "upload": lambda store: store.upload,
            "first page of a list": lambda store: partial(store.page, None),
            "page in the middle of a list": lambda store: partial(store.page, store.cursor),
            "read": lambda store: store.read,
            f"verify, each of {SAMPLE:,}": lambda store: store.verify_one,
        }
        for name, measure in measures.items():
            for store in stores:
                measure(store)()  # once before it counts
            done = alternate(extent.rounds, {str(store.images): measure(store) for store in stores})
            rows += _rows(name, {store.images: done[str(store.images)] for store in stores})
        # The small ones before and after each larger one, so that each is compared with what was measured beside it.
        for store in stores[1:]:
            before, seconds, after = least.verify_all(), store.verify_all(), least.verify_all()
            rows.append(Figure.one(f"verify all of {store.images:,}", seconds, "s"))
            ours, theirs = seconds / store.images, (before + after) / 2 / least.images
            rows.append(Figure.one(f"verify all of {store.images:,}: each", ours * 1000, "ms"))
            rows.append(
                ratios(f"verify all, each: {store.images:,} ÷ {least.images:,}", [ours], [theirs], goal=NEAR_ONE)
            )
    return rows


def _rows(name: str, seconds: dict[int, list[float]]) -> list[Figure]:
    least, *others = sorted(seconds)
    return [
        *(Figure(f"{name}: {count:,} images", tuple(1000 * s for s in done), "ms") for count, done in seconds.items()),
        *(ratios(f"{name}: {count:,} ÷ {least:,}", seconds[count], seconds[least], goal=NEAR_ONE) for count in others),
    ]


def _filled(stack: contextlib.ExitStack, images: int) -> Store:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seawall-bench-")))
    system = stack.enter_context(running_system(folder / "system"))
    inside = stack.enter_context(workbench(system))
    keeper, visitor = Person(system).register(), Person(system).register()
    path = folder / "image"
    path.write_bytes(pictures.tiny())
    name = inside.do("fill", path=str(path), images=images, owner=keeper.id)["name"]
    read_url = f"http://127.0.0.1:{system.port_base + 3}/{name}"
    return Store(images, system, inside, keeper, visitor, read_url, _middle(keeper, images // 2))


def _middle(keeper: Person, images: int) -> str:
    """The cursor in the middle of the list."""
    cursor, left = None, images // 2
    while left:
        _, page = keeper.list_images(cursor=cursor, limit=min(left, LARGEST_PAGE))
        cursor, left = page["next_cursor"], left - len(page["items"])
    return str(cursor)
