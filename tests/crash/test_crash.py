"""The images role is killed with SIGKILL while people upload and register, and nothing that was acknowledged is lost.

By turns all of its processes die at once or one of its workers does, at any moment or just when a file appears in the
store. In between, what is stored is compared with what people were told.

What SIGKILL cannot show is what a power cut takes: the kernel still writes what was handed to it. That files and folder
are synced before the record commits, and in which order, `tests/images/test_store.py` shows.

SEAWALL_CRASHES says how many kills; the moments follow from SEAWALL_SEED, which is printed.
"""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from tests.crash.crowd import UPLOADERS, Crowd, Told, pictures
from tests.crash.kept import PARTS, Digests, Kept, miscounted, registered, sha256
from tests.running import PATIENCE, ask, environment_of, manage, until
from tests.standins import StandIn, stood_in

CRASHES = int(os.environ.get("SEAWALL_CRASHES") or 24)
SEED = int(os.environ.get("SEAWALL_SEED") or random.SystemRandom().randrange(10**6))
BATCH = 12  # kills, after which everything is looked at byte by byte
LONGEST = 0.8  # seconds from the first upload to the kill
SHORTLY = 0.005  # seconds from the sight of a file on its way to the kill
EXPECTED = {"stored", "registered without the image", "images_unavailable", "busy"}


@dataclass
class Campaign:
    """Kill after kill, and what each of them left behind."""

    role: StandIn
    crowd: Crowd
    whole: dict[int, Digests]  # of each picture: what is stored of it, found out before the first kill
    chance: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    told: list[Told] = field(default_factory=list)

    def kill_once(self) -> None:
        """People upload and register, the role or a worker of it dies at any moment, and the store is looked at."""
        until(lambda: self._tell(self.crowd.upload(self.crowd.people[0], 0)), "uploads work")
        before = Kept.now()
        number = self.kills.total()
        victim = None if number % 3 == 0 else self.chance.choice(until(self.role.workers, "there is a worker"))
        over = threading.Event()
        with ThreadPoolExecutor(UPLOADERS + 1) as pool:
            rush = self.crowd.rush(self.chance, over, pool)
            if number % 2:
                over.wait(self.chance.uniform(0, LONGEST))
            else:
                self._until_something_is_written()
            moment = time.monotonic()
            if victim is None:
                self.role.kill()
                self.role.start()
            else:
                os.kill(victim, signal.SIGKILL)
            over.set()
        self.kills["of the role" if victim is None else "of a worker"] += 1
        told = [each for future in rush for each in future.result()]
        self._count(before, told, moment)
        for each in told:
            self._tell(each)
        if victim is None:
            self.role.until_ready()

    def look_closely(self) -> None:
        """What was acknowledged is there as it was sent, `files` gives it out, and no record is without its bytes."""
        kept = Kept.now()
        assert kept.without_bytes() == []
        assert kept.damaged(set(self.whole.values())) == []
        assert miscounted() == []
        assert lost(self.told, self.whole, kept) == []
        assert wrong_accounts(self.told) == []

    def clean_up(self) -> None:
        """The accounts are closed and what is left over is reaped: then the store holds what has a record, and that."""
        self.crowd.leave()
        left = {each.person.id for each in self.told if each.person in self.crowd.people}
        self.told = [each for each in self.told if each.person.id not in left]
        self.crowd = Crowd(self.crowd.pictures)
        reap()
        kept = Kept.now()
        assert (kept.without_record(), kept.unfinished) == ({}, [])
        assert kept.without_bytes() == []

    def figures(self) -> list[str]:
        """What happened so far, in numbers."""
        counters = {"kills": self.kills, "answers": self.answers, "struck": self.struck}
        return [
            f"{name}: {', '.join(f'{number:,} {what}' for what, number in counted.most_common())}"
            for name, counted in counters.items()
        ]

    def _tell(self, told: Told) -> bool:
        self.told.append(told)
        self.answers[told.outcome] += 1
        assert told.outcome in EXPECTED, f"{told.what} was answered with {told.answer.status}: {told.answer.body!r}"
        return told.image is not None

    def _until_something_is_written(self) -> None:
        """Until there is a new file: writing takes so little of an upload that chance alone rarely finds it."""
        folder = Path(environment_of("images")["IMAGE_ROOT"]) / self.chance.choice(["incoming", "uploads"])
        count = len(os.listdir(folder))
        deadline = time.monotonic() + PATIENCE
        while len(os.listdir(folder)) <= count:
            assert time.monotonic() < deadline, "nothing is written"
        time.sleep(self.chance.uniform(0, SHORTLY))

    def _count(self, before: Kept, told: list[Told], moment: float) -> None:
        """In which step the kill struck, as far as it left something of that step behind."""
        after = Kept.now()
        assert after.without_bytes() == []
        cut_off = [each for each in told if each.begun < moment < each.ended and each.image is None]
        self.struck["requests that were cut off"] += len(cut_off)
        self.struck["while a file was written or synced"] += len(set(after.unfinished) - set(before.unfinished))
        for image_id, parts in after.without_record().items():
            if image_id not in before.files:
                self.struck["between two files" if len(parts) < 3 else "between files and record"] += 1
        acknowledged = {each.image["id"] for each in told if each.image}
        self.struck["between record and answer"] += len(after.records.keys() - before.records.keys() - acknowledged)


def lost(told: list[Told], whole: dict[int, Digests], kept: Kept) -> list[str]:
    """What was acknowledged and is not there, or is not what was sent."""
    faults = []
    for each in told:
        if not each.image:
            continue
        record = kept.records.get(each.image["id"])
        served = tuple(sha256(ask("GET", each.image[size]).body) for size in ("url", "avatar_url", "card_url"))
        if record is None:
            faults.append(f"image {each.image['id']} was acknowledged and has no record")
        elif record.owner != (each.person.id or each.answer.json["id"]):
            faults.append(f"image {each.image['id']} belongs to somebody else")
        elif served != whole[each.picture]:
            faults.append(f"image {each.image['id']} is not served as it was sent")
    return faults


def wrong_accounts(told: list[Told]) -> list[str]:
    """The registrations whose account is not as they were answered. Unavailable says that nothing is known."""
    accounts = registered()
    faults = []
    for each in told:
        if each.what == "registration":
            there = each.person.email in accounts
            if each.answer.status == 201 and not there:
                faults.append(f"account {each.answer.json['id']} was acknowledged and is not there")
            if each.answer.status < 500 and each.answer.status != 201 and there:
                faults.append("a registration was refused and made an account")
    return faults


def reap() -> None:
    """Has the reaper remove what crashes have left. It spares what is young, so that is made to look old first."""
    kept = Kept.now()
    leftovers = [path for parts in kept.without_record().values() for path in parts.values()]
    for path in [*leftovers, *kept.unfinished]:
        os.utime(path, (0, 0))
    finished = manage("images", "reap")
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    print(f"SEAWALL_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - draws moments and what to send
    with stood_in("images") as role:
        crowd = Crowd(pictures(chance))
        keeper = [crowd.upload(crowd.people[0], number) for number in range(len(crowd.pictures))]
        assert all(each.image for each in keeper)
        kept = Kept.now()
        whole = {each.picture: kept.digests(each.image["id"]) for each in keeper if each.image}
        for each in keeper:
            assert each.image
            check_stored(crowd.pictures[each.picture], kept.files[each.image["id"]])
        # The first ones stay to the end: what was there before must outlive every kill.
        yield Campaign(role, Crowd(crowd.pictures), whole, chance, told=keeper)


def check_stored(sent: bytes, stored: dict[str, Path]) -> None:
    """What is stored without any kill is the picture that was sent, with its avatar and card."""
    original = decoded(sent)
    picture, avatar, card = (decoded(stored[part].read_bytes()) for part in PARTS)
    assert (picture.format, picture.size) == (original.format, original.size)
    if picture.format == "PNG":
        assert picture.tobytes() == original.tobytes()
    assert (avatar.size, avatar.format, card.format) == ((256, 256), "WEBP", "WEBP")
    assert max(card.size) <= 640


def decoded(data: bytes) -> Image.Image:
    """The image, every pixel of its first frame read."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_whatever_is_killed_what_was_acknowledged_is_whole_and_the_rest_is_absent_or_reaped(
    campaign: Campaign, record_testsuite_property: Callable[[str, object], None]
) -> None:
    while campaign.kills.total() < CRASHES:
        for _ in range(min(BATCH, CRASHES - campaign.kills.total())):
            campaign.kill_once()
        campaign.look_closely()
        campaign.clean_up()
        print(*campaign.figures(), sep="\n", flush=True)

    for figure in campaign.figures():
        record_testsuite_property("figure", figure)


def test_the_kills_struck_while_images_were_on_their_way(campaign: Campaign) -> None:
    assert campaign.kills.total() >= CRASHES
    assert campaign.struck["requests that were cut off"] > campaign.kills.total() / 2
    if CRASHES >= 200:  # chance finds each of these moments
        assert min(campaign.struck.values()) > 0, campaign.struck


def test_at_the_end_the_operators_own_check_finds_every_image_whole(campaign: Campaign) -> None:
    finished = manage("images", "verify")

    assert finished.returncode == 0, finished.stdout + finished.stderr
