"""People who register and upload all the time, and remember what they were told."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from PIL import Image

from tests.running import Answer, Person, ask, until, url

UPLOADERS = 4
PAUSE = 0.05  # seconds, before somebody who was refused tries again


def pictures(chance: random.Random) -> list[bytes]:
    """Files of every format, from some bytes to some megabytes: what takes longest is another step in each of them."""

    def noise(width: int, height: int) -> Image.Image:
        return Image.frombytes("RGB", (width, height), chance.randbytes(3 * width * height))

    def smooth(width: int, height: int) -> Image.Image:
        return noise(12, 9).resize((width, height), Image.Resampling.BICUBIC)

    def written(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    frames = [smooth(240, 180) for _ in range(8)]
    return [
        written(noise(24, 16), "PNG"),
        written(smooth(320, 240), "PNG"),
        written(smooth(640, 480), "JPEG"),
        written(smooth(500, 400), "GIF"),
        written(smooth(400, 300), "WEBP", lossless=True),
        written(smooth(800, 600), "WEBP", quality=80),
        written(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=80),
        written(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=80),
        written(noise(600, 500), "PNG"),
        written(smooth(2400, 1600), "JPEG", quality=88),
        written(noise(1400, 1000), "JPEG", quality=80),
        written(noise(1300, 1100), "PNG"),
    ]


@dataclass(frozen=True)
class Told:
    """One upload or registration, and its answer. Times are of the monotonic clock (s)."""

    what: Literal["upload", "registration"]
    person: Person
    picture: int  # index in the pictures of the crowd
    answer: Answer
    begun: float
    ended: float

    @property
    def outcome(self) -> str:
        """The answer in a word or two."""
        if self.answer.status != 201:
            return str(self.answer.json.get("code", self.answer.status))
        return "stored" if self.image else "registered without the image"

    @property
    def image(self) -> dict[str, Any] | None:
        """The image that was acknowledged, if one was."""
        if self.answer.status != 201:
            return None
        document: dict[str, Any] = self.answer.json
        found: dict[str, Any] | None = document["image"] if self.what == "registration" else document
        return found


@dataclass
class Crowd:
    """Some who upload one picture after the other, and somebody who registers with one time and again."""

    pictures: list[bytes]
    people: list[Person] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = [Person.new().register().sign_in() for _ in range(UPLOADERS)]

    def upload(self, person: Person, picture: int) -> Told:
        """Uploads one of the pictures."""
        return self._told("upload", person, picture)

    def rush(self, chance: random.Random, over: threading.Event, pool: ThreadPoolExecutor) -> list[Future[list[Told]]]:
        """Everybody goes on until it is over; who waits for an answer then gets it first."""
        uploads = [partial(self.upload, person) for person in self.people]
        tries = [*uploads, lambda picture: self._told("registration", Person.new(), picture)]
        seeds = [chance.random() for _ in tries]
        return [pool.submit(self._go_on, try_, seed, over) for try_, seed in zip(tries, seeds, strict=True)]

    def leave(self) -> None:
        """Everybody who uploads closes the account."""
        for person in self.people:
            # The gateway may not have noticed yet that images is back.
            until(lambda person=person: person.call("DELETE", "/profile").status == 204, "the account is closed")

    def _go_on(self, try_: Callable[[int], Told], seed: float, over: threading.Event) -> list[Told]:
        chance = random.Random(seed)  # noqa: S311 - draws what to send
        told: list[Told] = []
        while not over.is_set():
            told.append(try_(chance.randrange(len(self.pictures))))
            if told[-1].answer.status != 201:
                over.wait(PAUSE)
        return told

    def _told(self, what: Literal["upload", "registration"], person: Person, picture: int) -> Told:
        form: dict[str, Any] = {"image": ("photo", self.pictures[picture])}
        path, token = "/images", person.access_token
        if what == "registration":
            form |= {"name": person.name, "email": person.email, "password": person.password}
            path, token = "/register", None
        begun = time.monotonic()
        answer = ask("POST", f"{url('gateway')}/api/v1{path}", form=form, token=token)
        return Told(what, person, picture, answer, begun, time.monotonic())
