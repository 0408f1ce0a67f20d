"""The running system with a proxy between the gateway and each role, and somebody who uses everything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.signing import TimestampSigner

from tests.proxies import Proxy, proxy
from tests.running import Answer, Person, ask, environment_of, management_url, picture, port_of, until, url
from tests.standins import stood_in

LIMIT = 3.0  # seconds in which a call through the gateway answers
UPLOAD_LIMIT = 15.0  # seconds; one that carries an image
RECOVERY = 5.0  # seconds in which everything works again, once the fault is gone
SIGN_IN = "seawall-sign-in"  # the cookie
NAMES = {"auth": "Auth", "images": "Image"}

Ask = Callable[[], Answer]


@pytest.fixture(scope="package")
def proxies() -> Iterator[Mapping[str, Proxy]]:
    """The proxies, by role; the gateway that uses them serves."""
    with ExitStack() as stack:
        between = {role: stack.enter_context(proxy(port_of(url(role)))) for role in NAMES}
        addresses = {f"{role.upper()}_URL": f"http://127.0.0.1:{found.port}" for role, found in between.items()}
        stack.enter_context(stood_in("gateway", **addresses))
        yield between


class Browser:
    """A browser without scripts: it keeps cookies, and sends the token of a form back."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        """A page."""
        return self._send("GET", path)

    def sign_in(self, person: Person, token: str | None = None) -> Answer:
        """Sends the form, with the token of one that was opened before, or of a new one."""
        form = {
            "csrfmiddlewaretoken": token or self.token(),
            "email": person.email,
            "password": person.password,
        }
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", "/sign-in", body=urlencode(form).encode(), headers=kind)

    def token(self) -> str:
        """The token of the form."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get("/sign-in").body.decode())
        assert found
        return found[1]

    def age(self, seconds_left: int) -> None:
        """Lets the cookie say that the access token expires so soon; the portal then renews it first."""
        signer = TimestampSigner(key=environment_of("gateway")["SECRET_KEY"], salt="portal.sign-in", fallback_keys=())
        stored = signer.unsign_object(self._cookies[SIGN_IN])
        aged = stored | {"access_expires_at": int(time.time()) + seconds_left}
        self._cookies[SIGN_IN] = signer.sign_object(aged, compress=True)

    def _send(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Answer:
        cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        answer = ask(method, url("gateway") + path, headers=cookies | dict(headers or {}), **options)
        for line in answer.headers.getlist("Set-Cookie"):  # type: ignore[attr-defined]
            name, _, rest = line.partition("=")
            self._cookies[name] = rest.partition(";")[0].strip('"')
        return answer


@dataclass
class Member:
    """Somebody who was signed in at the API and at two browsers, with an image, before anything went wrong.

    The token of `late` has so little time left that it is to be renewed on each page where an image can be chosen.
    """

    person: Person
    image: dict[str, Any]
    browser: Browser
    late: Browser
    stranger: Browser
    token: str

    def log_in(self) -> Answer:
        """One more sign-in at the API, whatever comes of it."""
        credentials = {"email": self.person.email, "password": self.person.password}
        return ask("POST", f"{url('gateway')}/api/v1/login", json=credentials)

    def upload(self) -> Answer:
        """One more image, whatever comes of it."""
        return self.person.call("POST", "/images", form={"image": ("photo.png", picture(48, 48))})


@pytest.fixture(scope="package")
def member(proxies: Mapping[str, Proxy]) -> Member:
    person = Person.new("Ines Falk").register(picture(300, 300)).sign_in()
    browser, late, stranger = Browser(), Browser(), Browser()
    for each in (browser, late):
        assert each.sign_in(person).status == 302
    member = Member(person, person.upload(picture(64, 48)), browser, late, stranger, stranger.token())
    recovered(member)
    return member


def register(image: bytes | None = None) -> Answer:
    """Somebody new, whatever comes of it."""
    someone = Person.new()
    fields: dict[str, Any] = {"name": someone.name, "email": someone.email, "password": someone.password}
    if image is not None:
        fields["image"] = ("me.png", image)
    return ask("POST", f"{url('gateway')}/api/v1/register", form=fields)


def at_once(calls: Mapping[str, Ask]) -> dict[str, Answer]:
    """The answers to calls that are made at the same time, by name."""
    with ThreadPoolExecutor(len(calls)) as threads:
        futures = {name: threads.submit(call) for name, call in calls.items()}
        return {name: future.result() for name, future in futures.items()}


def refused(answer: Answer, role: str, limit: float = LIMIT) -> None:
    """One clear problem, in time, as the contract words it."""
    assert answer.status == 503, answer.body
    assert answer.seconds < limit, f"it took {answer.seconds:.2f} s"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    detail = f"Failed to communicate with {NAMES[role]} service"
    assert (problem["code"], problem["detail"]) == (f"{role}_unavailable", detail)
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


def page_says(answer: Answer, role: str, status: int, limit: float = LIMIT) -> None:
    """A page that says what is the matter, in time."""
    assert answer.status == status, answer.body
    assert answer.seconds < limit, f"it took {answer.seconds:.2f} s"
    assert f"Failed to communicate with {NAMES[role]} service" in answer.body.decode()


def works(member: Member) -> bool:
    """Whether people can do again whatever they could."""
    answers = at_once(
        {
            "sign-in": member.log_in,
            "upload": member.upload,
            "list": lambda: member.person.call("GET", "/images"),
            "profile": lambda: member.person.call("GET", "/profile"),
            "sessions": lambda: member.person.call("GET", "/sessions"),
            "gallery": lambda: member.browser.get("/images"),
        }
    )
    found = {name: answer.status for name, answer in answers.items()}
    whole = answers["profile"].status == 200 and answers["profile"].json["limited"] == []
    return whole and found == dict.fromkeys(found, 200) | {"upload": 201}


def recovered(member: Member) -> None:
    """Waits until everything works again."""
    until(lambda: works(member), "everything works again", RECOVERY)


def calls_counted(dependency: str, outcome: str) -> float:
    """How many calls of the gateway to a role ended so."""
    metrics = ask("GET", f"{management_url('gateway')}/metrics").body.decode()
    labels = rf'(?=[^}}]*dependency="{dependency}")(?=[^}}]*outcome="{outcome}")'
    return sum(float(value) for value in re.findall(rf"seawall_client_calls_total\{{{labels}[^}}]*\}} (\S+)", metrics))


def calls_repeated(dependency: str) -> float:
    """How many calls of the gateway to a role were sent a second time."""
    metrics = ask("GET", f"{management_url('gateway')}/metrics").body.decode()
    found = re.findall(rf'seawall_client_calls_repeated_total\{{dependency="{dependency}"\}} (\S+)', metrics)
    return sum(map(float, found))
