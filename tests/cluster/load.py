"""People who use the system through the Ingress all the time, each on connections of their own that are kept alive."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.cluster.front import API, IMAGES, PORTAL, Front, Line
from tests.cluster.kubectl import until
from tests.running import picture

_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)
ANSWER_SECONDS, UPLOAD_SECONDS = 5.0, 17.0  # the gateway's deadlines (3 and 15), and the way there and back
MEASURED = 20.0  # seconds in which is found what a cluster can serve
_LIMITED = b"This profile is limited at the moment"
_FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True)
class Failure:
    """A request that was not answered as it must be; status 0 if it was not answered at all."""

    at: str
    call: str
    status: int
    reason: str
    seconds: float


@dataclass
class Reply:
    """What came back."""

    status: int
    body: bytes
    cookies: list[str]


@dataclass
class Load:
    """`people` that ask `rate` times a second together, which may be changed meanwhile.

    Attributes:
        answered: answers as they must be, by call.
        failures: all others.
        reconnected: requests whose kept-alive connection was closed before any byte of an answer, and that were sent
            once more on a new one, as RFC 9110 (9.2.2) lets a client do with an idempotent method. They count neither
            as answered nor as failed; their second try does.
        slowest: seconds that the slowest good answer took.
    """

    front: Front
    rate: float
    people: int = 16
    answered: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    reconnected: int = 0
    slowest: float = 0.0
    crowd: list[Somebody] = field(default_factory=list)
    _told: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _loops: list[Future[None]] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        """Everybody registers and signs in; then they do all sorts of things while the block runs."""
        self.crowd = [Somebody(self, number) for number in range(self.people)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(Somebody.arrive, self.crowd))
        assert self.failures == [], self.failures[:3]
        self.answered.clear()
        with ThreadPoolExecutor(self.people) as threads:
            self._loops = [threads.submit(self._repeat, somebody) for somebody in self.crowd]
            try:
                yield self
            finally:
                self.stop()

    def stop(self) -> None:
        """Everybody ends what they are doing, and goes."""
        self._over.set()
        for loop in self._loops:
            loop.result()
        for somebody in self.crowd:
            somebody.leave()

    @property
    def total(self) -> int:
        """The requests so far."""
        return self.answered.total() + len(self.failures)

    def new_failures(self) -> list[Failure]:
        """Those since the last call."""
        found = self.failures[self._told :]
        self._told += len(found)
        return found

    def summary(self) -> str:
        """The figures in one line."""
        kinds = Counter((one.call, one.status, one.reason[:60]) for one in self.failures)
        return (
            f"{self.total} requests, {len(self.failures)} failed, {self.reconnected} sent again on a new connection, "
            f"slowest {self.slowest:.2f} s{'; ' + repr(dict(kinds.most_common(8))) if kinds else ''}"
        )

    def lost(self) -> list[str]:
        """What was acknowledged and is not there: images of people, and accounts. It stops them first."""
        self.stop()
        faults = [fault for somebody in self.crowd for fault in somebody.missing()]
        for somebody in self.crowd:
            somebody.leave()
        return faults

    def noted(self, call: str, status: int, reason: str, seconds: float) -> None:
        """Counts an answer; `reason` says what is wrong with it, if anything."""
        with self._lock:
            if reason:
                now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
                self.failures.append(Failure(now, call, status, reason, round(seconds, 2)))
            else:
                self.answered[call] += 1
                self.slowest = max(self.slowest, seconds)

    def noted_reconnection(self) -> None:
        """Counts a request that is sent once more."""
        with self._lock:
            self.reconnected += 1

    def _repeat(self, somebody: Somebody) -> None:
        due = time.monotonic() + self.people / self.rate * random.random()  # noqa: S311 - spreads them over the second
        while not self._over.wait(max(0.0, due - time.monotonic())):
            somebody.do_something()
            due = max(due + self.people / self.rate, time.monotonic() - 1)


def served(front: Front, people: int) -> float:
    """The requests a second that are answered when `people` ask as fast as they are answered.

    Raises:
        AssertionError: one was not answered as it must be.
    """
    with Load(front, float("inf"), people).running() as load:
        began = time.monotonic()
        until(lambda: time.monotonic() - began >= MEASURED, "the time to measure in is over", 2 * MEASURED)
        rate = load.total / (time.monotonic() - began)
    assert load.failures == [], load.summary()
    return rate


class Somebody:
    """One person with an account, a program that uses the API, and a browser."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._lines: dict[str, Line] = {}
        self._random = random.Random(number)  # noqa: S311 - no secret
        self._email = f"anna-{secrets.token_hex(8)}@example.org"
        self._password = f"lantern {secrets.token_hex(6)} harbour"
        self._access_token = self._refresh_token = ""
        self._cookies: dict[str, str] = {}
        self._picture = picture(64, 64)
        self.images: dict[str, str] = {}  # what is known to be there: paths by id
        self.registered: dict[str, str] = {}  # the accounts made for others: passwords by email
        self._names = {"Anna"}  # what the account's name may be: the last that was acknowledged, or a later one
        self._sizes: dict[str, int] = {}
        # What they do, and how often compared with the others.
        self._doings: list[tuple[Callable[[], None], float]] = [
            (self._see_profile, 26),
            (self._list_images, 20),
            (self._read_image, 32),
            (self._open_page, 12),
            (self._list_sessions, 3),
            (self._change_name, 2),
            (self._refresh, 1.5),
            (self._upload, 1.5),
            (self._delete, 1),
            (self._sign_in, 0.4),
            (self._register_somebody, 0.2),
        ]

    def arrive(self) -> None:
        """Registers, signs in at the API and at the portal, and uploads the first image."""
        self._register(self._email, self._password)
        self._sign_in()
        self._upload()
        page = self._ask("sign-in page", PORTAL, "GET", "/sign-in", 200)
        token = _FORM_TOKEN.search(page.body.decode()) if page else None
        if token is None:
            return
        form = {"csrfmiddlewaretoken": token[1], "email": self._email, "password": self._password}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{PORTAL}"}
        self._ask("portal sign-in", PORTAL, "POST", "/sign-in", 302, headers, urlencode(form).encode())

    def leave(self) -> None:
        """Closes the connections."""
        while self._lines:
            self._lines.popitem()[1].close()

    def do_something(self) -> None:
        """One thing, at random."""
        doings, weights = zip(*self._doings, strict=True)
        self._random.choices(doings, weights)[0]()

    def missing(self) -> list[str]:
        """Which of the acknowledged images are not listed or cannot be read, and which accounts are lost or changed."""
        accounts = self.registered.items()
        faults = [f"{email} cannot sign in" for email, password in accounts if not self._grant(email, password)]
        self._access_token = ""
        self._sign_in()
        if not self._access_token:
            return [*faults, f"{self._email} cannot sign in"]
        profile = self._call("profile", "GET", "/profile", 200)
        if not profile or profile["name"] not in self._names:
            faults.append(f"{self._email} has the name of {profile} and not one of {self._names}")
        listed: dict[str, str] = {}
        cursor = ""
        while True:
            page = self._call("image list", "GET", f"/images?limit=100{cursor}", 200)
            if page is None:
                return [*faults, f"{self._email}: no list of images"]
            listed |= {item["id"]: item["url"] for item in page["items"]}
            if not page["next_cursor"]:
                break
            cursor = f"&{urlencode({'cursor': page['next_cursor']})}"
        faults += [f"image {name} is not listed" for name in self.images if name not in listed]
        for name in self.images:
            if self._ask("image", IMAGES, "GET", self.images[name], 200) is None:
                faults.append(f"image {name} cannot be read")
        return faults

    def _see_profile(self) -> None:
        profile = self._call("profile", "GET", "/profile", 200)
        if profile and (profile["email"] != self._email or profile["limited"]):
            self._load.noted("profile", 200, f"limited {profile['limited']}", 0)

    def _list_images(self) -> None:
        self._call("image list", "GET", "/images?limit=10", 200)

    def _read_image(self) -> None:
        name, path = self._random.choice(list(self.images.items()))
        answer = self._ask("image", IMAGES, "GET", path, 200)
        if answer and len(answer.body) != self._sizes.setdefault(name, len(answer.body)):
            self._load.noted("image", 200, f"{len(answer.body)} bytes and not {self._sizes[name]}", 0)

    def _open_page(self) -> None:
        path = self._random.choice(["/profile", "/images", "/sessions", "/sign-in"])
        page = self._ask(f"page {path}", PORTAL, "GET", path, 302 if path == "/sign-in" else 200)
        if page and _LIMITED in page.body:
            self._load.noted(f"page {path}", 200, "limited", 0)

    def _list_sessions(self) -> None:
        self._call("sessions", "GET", "/sessions", 200)

    def _change_name(self) -> None:
        name = f"Anna {self._random.randrange(10**6)}"
        self._names.add(name)
        if self._call("PATCH profile", "PATCH", "/profile", 200, {"name": name}):
            self._names = {name}

    def _refresh(self) -> None:
        self._keep_tokens(self._call("refresh", "POST", "/refresh", 200, {"refresh_token": self._refresh_token}, False))

    def _sign_in(self) -> None:
        self._keep_tokens(self._grant(self._email, self._password))

    def _grant(self, email: str, password: str) -> Any:
        return self._call("login", "POST", "/login", 200, {"email": email, "password": password}, False)

    def _upload(self) -> None:
        boundary = secrets.token_hex(12)
        part = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n'.encode()
        body = part + b"Content-Type: image/png\r\n\r\n" + self._picture + f"\r\n--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"} | self._token()
        answer = self._ask("upload", API, "POST", "/api/v1/images", 201, headers, body)
        if answer:
            stored = json.loads(answer.body)
            self.images[stored["id"]] = urlsplit(stored["url"]).path

    def _delete(self) -> None:
        if len(self.images) > 2:
            name = self._random.choice(list(self.images))
            self.images.pop(name)  # whatever becomes of the request, it is not expected any more
            self._call("delete", "DELETE", f"/images/{name}", 204)

    def _register_somebody(self) -> None:
        email, password = f"anna-{secrets.token_hex(8)}@example.org", f"lantern {secrets.token_hex(6)} harbour"
        if self._register(email, password):
            self.registered[email] = password

    def _register(self, email: str, password: str) -> Any:
        account = {"name": "Anna", "email": email, "password": password}
        return self._call("register", "POST", "/register", 201, account, False)

    def _keep_tokens(self, grant: Any) -> None:
        if grant:
            self._access_token, self._refresh_token = grant["access_token"], grant["refresh_token"]

    def _token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access_token}"}

    def _call(self, call: str, method: str, path: str, expected: int, body: Any = None, signed_in: bool = True) -> Any:
        """One call of the API: its JSON, None if it failed."""
        headers = self._token() if signed_in else {}
        document = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            document = json.dumps(body).encode()
        answer = self._ask(call, API, method, f"/api/v1{path}", expected, headers, document)
        return json.loads(answer.body) if answer and answer.body else None

    def _ask(
        self,
        call: str,
        host: str,
        method: str,
        path: str,
        expected: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply | None:
        """One request, counted; None if its answer was not the expected one."""
        sent = dict(headers or {})
        if host == PORTAL and self._cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        started, status, reason, reply = time.monotonic(), 0, "", None
        try:
            reply = self._exchange(host, method, path, sent, body)
            status = reply.status
            took = time.monotonic() - started
            if status != expected:
                reason = reply.body.decode(errors="replace")[:300] or "no body"
            elif took > (UPLOAD_SECONDS if call == "upload" else ANSWER_SECONDS):
                reason = f"late: after {took:.1f} s"
        except (OSError, http.client.HTTPException) as error:
            self._lines.pop(host).close()
            reason = repr(error)
        self._load.noted(call, status, reason, time.monotonic() - started)
        if reason or reply is None:
            return None
        for line in reply.cookies:
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0].strip('"')
        return reply

    def _exchange(self, host: str, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Reply:
        if host not in self._lines:
            self._lines[host] = self._load.front.line(host)
        line = self._lines[host]
        kept = line.sock is not None
        try:
            line.request(method, path, body=body, headers=headers)
            answer = line.getresponse()
        except _CLOSED:
            line.close()
            if not kept or method not in {"GET", "HEAD"}:
                raise
            self._load.noted_reconnection()
            line.request(method, path, body=body, headers=headers)
            answer = line.getresponse()
        return Reply(answer.status, answer.read(), answer.headers.get_all("Set-Cookie") or [])
