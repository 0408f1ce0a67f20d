"""People who do everything that can be done, all the time, each on one connection, and never send anything twice."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3

from tests.running import Person, picture

PEOPLE = 12
GIVE_UP = 20.0  # seconds
SHOWN_BEFORE = 1.0  # seconds
_FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Failure:
    """A request that was not answered as it must be; status 0 if it was not answered at all."""

    at: float
    call: str
    status: int
    reason: str
    seconds: float


@dataclass
class Load:
    """`PEOPLE` that ask `rate` times a second together.

    Attributes:
        answered: answers as they must be, by call.
        failures: all others.
        seconds: for how long it ran.
        longest: seconds that the slowest answer took.
    """

    url: str
    rate: float
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    longest: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Everybody registers and signs in; then they do all sorts of things while the block runs."""
        people = [Somebody(self, number) for number in range(PEOPLE)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(Somebody.arrive, people))
        assert self.failures == []
        self.answered.clear()
        self.longest = 0.0
        started = time.monotonic()
        with ThreadPoolExecutor(PEOPLE) as threads:
            loops = [threads.submit(self._repeat, somebody) for somebody in people]
            try:
                yield self
            finally:
                self._over.set()
        for loop in loops:
            loop.result()
        self.seconds = time.monotonic() - started

    @property
    def total(self) -> int:
        """The good answers so far."""
        return self.answered.total()

    def noted(self, call: str, status: int, reason: str, seconds: float) -> None:
        """Counts an answer; `reason` says what is wrong with it, if anything."""
        with self._lock:
            self.longest = max(self.longest, seconds)
            if reason:
                self.failures.append(Failure(round(time.monotonic(), 2), call, status, reason, round(seconds, 2)))
            else:
                self.answered[call] += 1

    def _repeat(self, somebody: Somebody) -> None:
        pause = PEOPLE / self.rate
        due = time.monotonic() + pause * random.random()  # noqa: S311 - spreads them over the second
        while not self._over.wait(max(0.0, due - time.monotonic())):
            somebody.do_something()
            due = max(due + pause, time.monotonic() - 1)


class Somebody:
    """One person with an account, a program that uses the API, a browser, and a connection of their own."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=1, retries=False, timeout=GIVE_UP)
        self._random = random.Random(number)  # noqa: S311 - no secret
        self._person = Person.new()
        self._images: list[str] = []
        self._before: list[tuple[float, list[str]]] = []  # what was there, and until when
        self._cookies: dict[str, str] = {}
        self._picture = picture(32, 32)
        # What they do, and how often compared with the others.
        self._doings: list[tuple[Callable[[], None], float]] = [
            (self._see_profile, 30),
            (self._list_images, 24),
            (self._see_image, 16),
            (self._open_page, 14),
            (self._list_sessions, 6),
            (self._change_name, 3),
            (self._refresh, 3),
            (self._upload, 1.5),
            (self._delete, 1.5),
            (self._sign_in, 0.5),
            (self._register_somebody, 0.3),
        ]

    def arrive(self) -> None:
        """Registers, signs in at the API and at the portal, and uploads the first image."""
        self._register(self._person)
        self._sign_in()
        self._upload()
        page = self._ask("sign-in page", "GET", "/sign-in", 200, cookies=True)
        token = _FORM_TOKEN.search(page.data.decode())
        assert token, "the sign-in page has no form"
        form = {"csrfmiddlewaretoken": token[1], "email": self._person.email, "password": self._person.password}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        self._ask("portal sign-in", "POST", "/sign-in", 302, cookies=True, body=body, headers=headers)

    def do_something(self) -> None:
        """One thing, at random."""
        doings, weights = zip(*self._doings, strict=True)
        self._random.choices(doings, weights)[0]()

    def _see_profile(self) -> None:
        self._api("profile", "GET", "/profile", 200, {"email": self._person.email, "limited": []})

    def _list_images(self) -> None:
        # One process of the gateway may show for a second what was before a change at the other.
        asked_at = time.monotonic()
        accepted = [images for until, images in self._before if asked_at < until + SHOWN_BEFORE] + [self._images]
        answer = self._api("image list", "GET", "/images?limit=10", 200)
        listed = [item["id"] for item in answer["items"]] if answer else []
        if answer and not any(set(listed) == set(images[-10:]) for images in accepted):
            self._load.noted("image list", 200, f"{len(listed)} images and not {len(self._images)}", 0)

    def _see_image(self) -> None:
        wanted = self._random.choice(self._images)
        self._api("image", "GET", f"/images/{wanted}", 200, {"id": wanted})

    def _open_page(self) -> None:
        path = self._random.choice(["/profile", "/images", "/sessions", "/sign-in"])
        expected = 302 if path == "/sign-in" else 200
        self._ask(f"page {path}", "GET", path, expected, cookies=True)

    def _list_sessions(self) -> None:
        self._api("sessions", "GET", "/sessions", 200)

    def _change_name(self) -> None:
        name = f"Anna {self._random.randrange(10**6)}"
        self._api("PATCH profile", "PATCH", "/profile", 200, {"name": name}, json={"name": name})

    def _refresh(self) -> None:
        body = {"refresh_token": self._person.refresh_token}
        self._keep_tokens(self._api("refresh", "POST", "/refresh", 200, json=body, token=False))

    def _sign_in(self) -> None:
        body = {"email": self._person.email, "password": self._person.password}
        self._keep_tokens(self._api("login", "POST", "/login", 200, json=body, token=False))

    def _upload(self) -> None:
        answer = self._api("upload", "POST", "/images", 201, fields={"image": ("a.png", self._picture)})
        if answer:
            self._have([*self._images, answer["id"]])

    def _delete(self) -> None:
        if len(self._images) > 1:
            self._api("delete", "DELETE", f"/images/{self._images[-1]}", 204)
            self._have(self._images[:-1])

    def _have(self, images: list[str]) -> None:
        self._before = [*self._before[-3:], (time.monotonic(), self._images)]
        self._images = images

    def _register_somebody(self) -> None:
        self._register(Person.new())

    def _register(self, person: Person) -> None:
        body = {"name": person.name, "email": person.email, "password": person.password}
        self._api("register", "POST", "/register", 201, {"email": person.email}, json=body, token=False)

    def _keep_tokens(self, grant: Any) -> None:
        if grant:
            self._person.access_token, self._person.refresh_token = grant["access_token"], grant["refresh_token"]

    def _api(
        self,
        call: str,
        method: str,
        path: str,
        expected: int,
        members: dict[str, Any] | None = None,
        *,
        token: bool = True,
        **options: Any,
    ) -> Any:
        """One call of the API: its JSON, None if it failed; `members` are what must be in it."""
        headers = {"Authorization": f"Bearer {self._person.access_token}"} if token else {}
        answer = self._ask(call, method, f"/api/v1{path}", expected, members, headers=headers, **options)
        return answer.json() if answer is not None and answer.data else None

    def _ask(
        self,
        call: str,
        method: str,
        path: str,
        expected: int,
        members: dict[str, Any] | None = None,
        *,
        headers: dict[str, str] | None = None,
        cookies: bool = False,
        **options: Any,
    ) -> Any:
        sent = dict(headers or {})
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        started, status, answer, reason = time.monotonic(), 0, None, ""
        try:
            answer = self._pool.request(method, self._load.url + path, headers=sent, redirect=False, **options)
            status = answer.status
            if status != expected:
                reason = answer.data.decode(errors="replace")[:300]
            elif members:
                content = answer.json()
                reason = "" if members.items() <= content.items() else f"not {members}: {content}"
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            reason = repr(error)
        self._load.noted(call, status, reason, time.monotonic() - started)
        if reason or answer is None:
            return None
        for line in answer.headers.getlist("Set-Cookie"):
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0].strip('"')
        return answer
