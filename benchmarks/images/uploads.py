"""The wall time of an upload, beside that of the work that it cannot do without."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.images import pictures
from benchmarks.images.extent import Extent
from benchmarks.images.figures import Figure, alternate, at_most, ratios
from benchmarks.images.people import Person
from benchmarks.images.processor import cpu_ms
from benchmarks.images.workbench import Workbench, pids, workbench
from tests.support import System, running_system

PICTURES: dict[str, Callable[[], bytes]] = {
    "12 MP JPEG": pictures.photo,
    "1 MP PNG": pictures.screenshot,
    "small WebP": pictures.sticker,
}
REPEATED = {"small WebP": 5, "1 MP PNG": 2}  # times in one turn, because one alone is soon over


class Bench:
    """The same image, over and over: uploaded, stored without HTTP, and worked on alone. All in seconds.

    What the work is made of, and the CPU of each role for uploads through the gateway, is kept turn by turn.
    """

    def __init__(self, system: System, inside: Workbench, person: Person, image: bytes, path: Path) -> None:
        self._inside = inside
        self._person = person
        self._image = image
        self._path = str(path)
        self._roles = {role: [pid] for role, pid in pids(system).items() if role in ("gateway", "images")}
        self.parts: dict[str, list[float]] = {"converting": [], "storing": [], "cpu": []}
        self.cpu: dict[str, list[float]] = {role: [] for role in self._roles}

    def work(self) -> float:
        """Decode, orient, encode, derive, hash, write and sync."""
        done = self._inside.do("work", path=self._path)
        for part, seconds in self.parts.items():
            seconds.append(done[part])
        return float(done["seconds"])

    def record(self) -> float:
        """The same, and the record in the database."""
        return float(self._inside.do("store", path=self._path, owner=self._person.id)["seconds"])

    def images(self) -> float:
        """An upload straight to images."""
        seconds, image_id = self._person.upload_to_images(self._image)
        self._person.delete(image_id)
        return seconds

    def gateway(self) -> float:
        """An upload through the public API."""
        before = {role: cpu_ms(processes) for role, processes in self._roles.items()}
        seconds, image_id = self._person.upload(self._image)
        for role, processes in self._roles.items():
            self.cpu[role].append((cpu_ms(processes) - before[role]) / 1000)
        self._person.delete(image_id)
        return seconds


def uploads(extent: Extent) -> list[Figure]:
    """Uploads through the gateway, straight to images, with a record but without HTTP; and the work alone."""
    rows: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(prefix="seawall-bench-") as folder,
        running_system(Path(folder) / "system") as system,
        workbench(system) as inside,
    ):
        person = Person(system).register()
        for name, draw in PICTURES.items():
            image = draw()
            path = Path(folder) / "image"
            path.write_bytes(image)
            rows += _compared(name, image, Bench(system, inside, person, image, path), extent)
    return rows


def _compared(name: str, image: bytes, bench: Bench, extent: Extent) -> list[Figure]:
    measures = {"work": bench.work, "record": bench.record, "images": bench.images, "gateway": bench.gateway}
    for measure in measures.values():  # before it counts: each of two workers of a role meets the image once
        measure(), measure()
    for kept in (*bench.parts.values(), *bench.cpu.values()):
        kept.clear()
    times = REPEATED.get(name, 1)
    done = alternate(extent.rounds, {label: partial(_mean, measure, times) for label, measure in measures.items()})
    work, record, images, gateway = (done[label] for label in ("work", "record", "images", "gateway"))
    cpu = {role: statistics.mean(each) for role, each in bench.cpu.items()}
    cpu_of_work = statistics.mean(bench.parts["cpu"])
    title = f"{name} ({len(image) / 1000:,.0f} KB)"
    return [
        ratios(f"{title}: upload ÷ work", gateway, work, goal=at_most(1.25)),
        ratios(f"{title}: upload straight to images ÷ work", images, work),
        Figure.one(f"{title}: CPU of gateway and images ÷ CPU of the work", sum(cpu.values()) / cpu_of_work),
        _ms(f"{name}: the whole upload", gateway),
        _ms(f"{name}: the work: decode, orient, encode, derive, hash", bench.parts["converting"]),
        _ms(f"{name}: the work: three files written and synced", bench.parts["storing"]),
        _more(f"{name}: added by its record in the database", record, work),
        _more(f"{name}: added by HTTP to images", images, record),
        _more(f"{name}: added by the gateway", gateway, images),
        _ms(f"{name}: CPU of the work", [cpu_of_work]),
        *(_ms(f"{name}: CPU of {role}", [seconds]) for role, seconds in cpu.items()),
    ]


def _mean(measure: Callable[[], float], times: int) -> float:
    return sum(measure() for _ in range(times)) / times


def _ms(name: str, seconds: list[float]) -> Figure:
    return Figure(name, tuple(1000 * each for each in seconds), "ms")


def _more(name: str, with_it: list[float], without: list[float]) -> Figure:
    return _ms(name, [each - other for each, other in zip(with_it, without, strict=True)])
