"""Roles that are taken away and given back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.e2e.browsing import Visitor, visiting
from tests.e2e.conftest import NewVisitor
from tests.e2e.conftest import browser as browser
from tests.e2e.conftest import new_visitor as new_visitor
from tests.running import ROLES, Answer, Person, ask, manage, management_url, picture, status, until, url

T = TypeVar("T")
LIMIT = 3.0  # seconds in which a call through the gateway answers, whatever is the matter
RECOVERY = 5.0  # seconds in which everything works again, once what was missing says that it is ready


def ready() -> bool:
    """Whether every role says that it is ready."""
    return all(ask("GET", f"{management_url(role)}/readyz").status == 200 for role in ROLES)


@dataclass
class Outage:
    """A time without a role. `over_at` is the moment (monotonic clock, s) when it said that it is ready again."""

    role: str
    over_at: float = 0.0

    def mended(self, condition: Callable[[], T], what: str) -> T:
        """Waits for what has to work again, as long as it may take since the outage was over; returns what it gave."""
        return until(
            condition, f"{what}, {RECOVERY:g} s after {self.role} is ready", self.over_at + RECOVERY - time.monotonic()
        )


@contextmanager
def stopped(role: str) -> Iterator[Outage]:
    """The block runs without the role. Afterwards it is there again, and the gateway has seen that it is."""
    outage = Outage(role)
    finished = manage("stop", role)
    try:
        assert finished.returncode == 0, finished.stderr
        yield outage
    finally:
        finished = manage("start", role)
        outage.over_at = time.monotonic()
    assert finished.returncode == 0, finished.stderr
    outage.mended(ready, "every role is ready")
    outage.mended(newcomer, "a registration is whole")  # no circuit is open, for those who ask next


def newcomer() -> Person | None:
    """Somebody who has just registered, with an image. None while a service that it takes is not asked."""
    person = Person.new()
    fields = {"name": person.name, "email": person.email, "password": person.password}
    answer = ask("POST", f"{url('gateway')}/api/v1/register", form=fields | {"image": ("me.png", picture(64, 64))})
    if answer.status == 503:
        return None
    assert answer.status == 201, answer.body
    return person if person.sign_in().call("GET", "/profile").json["image"] else None


def status_document() -> Any:
    """What the status page says to programs; it is there whatever is the matter."""
    answer = ask("GET", f"{url('gateway')}/status", headers={"Accept": "application/json"})
    assert answer.status == 200, answer.body
    assert answer.seconds < LIMIT
    return answer.json


def lives() -> dict[str, tuple[int, int]]:
    """Process and number of restarts of each role: what must not change when another one goes and comes."""
    return {name: (role["pid"], role["restarts"]) for name, role in status().items()}


@dataclass
class Member:
    """Somebody who was signed in at the API and at a browser, with images, before anything went wrong."""

    person: Person
    cookies: Any
    image: dict[str, Any]
    profile_image: dict[str, Any]

    def log_in(self) -> Answer:
        """One more sign-in at the API, whatever comes of it."""
        credentials = {"email": self.person.email, "password": self.person.password}
        return ask("POST", f"{url('gateway')}/api/v1/login", json=credentials)

    def upload(self) -> Answer:
        """One more image, whatever comes of it."""
        return self.person.call("POST", "/images", form={"image": ("photo.png", picture(48, 48))})


@pytest.fixture(scope="module")
def member(browser: Browser) -> Member:
    person = Person.new("Ines Falk").register(picture(300, 300)).sign_in()
    profile_image = person.call("GET", "/profile").json["image"]
    assert profile_image
    image = person.upload(picture(640, 480))
    with visiting(browser) as visitor:
        visitor.sign_in(person)
        return Member(person, visitor.context.storage_state(), image, profile_image)


@pytest.fixture
def visitor(new_visitor: NewVisitor, member: Member) -> Visitor:
    """The member at the browser, which nobody has told of the outage."""
    return new_visitor(storage_state=member.cookies)


def unavailable(answer: Answer, service: str) -> None:
    """The answer says in time, and as the contract words it, that the service does not answer."""
    assert answer.status == 503, answer.body
    assert answer.seconds < LIMIT, f"it took {answer.seconds:.2f} s"
    detail = {"auth": "Failed to communicate with Auth service", "images": "Failed to communicate with Image service"}
    problem: Mapping[str, Any] = answer.json
    assert (problem["code"], problem["detail"]) == (f"{service}_unavailable", detail[service])
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert int(answer.headers["Retry-After"]) >= 1


def served(image: Mapping[str, Any]) -> bool:
    """Whether `files` gives out a stored image in all of its sizes, whole."""
    for size in ("url", "avatar_url", "card_url"):
        answer = ask("GET", image[size])
        if answer.status != 200:
            return False
        Image.open(io.BytesIO(answer.body)).load()
    return True


def everything_works(member: Member, outage: Outage) -> None:
    """Waits until people can do again whatever they could, and are told so, each call in time."""
    outage.mended(lambda: member.log_in().status == 200, "sign-in works again")
    outage.mended(lambda: member.upload().status == 201, "uploads work again")
    outage.mended(lambda: member.person.call("GET", "/images").status == 200, "images are listed again")
    outage.mended(lambda: member.person.call("GET", "/profile").json["limited"] == [], "the profile is whole again")
    outage.mended(lambda: status_document()["state"] == "works", "the status says so")
    person = outage.mended(newcomer, "a registration is whole")
    assert person
    assert person.call("GET", "/profile").json["image"]["is_profile_image"]
    assert person.call("GET", "/sessions").status == 200
    assert person.call("DELETE", "/profile").status == 204
    assert served(member.image)
