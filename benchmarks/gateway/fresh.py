"""How old an answer can be after a change: a person is asked for constantly, while something about them changes."""

from __future__ import annotations

import json
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import urllib3

from benchmarks.gateway.crowd import Crowd
from benchmarks.gateway.extent import Extent
from benchmarks.gateway.load import load
from benchmarks.gateway.people import IMAGES, PROFILE, ask
from benchmarks.images.figures import Figure, at_most

AUTH, IMAGES_ROLE = 1, 2  # in the order of ports
ASKERS = 3  # of each person, over connections that are new for every change, so that every worker is asked
EVERY = 0.01  # seconds between the requests of one of them
WATCHED = 0.4  # seconds that are watched after everybody has seen the change: nothing old may come back
PATIENCE = 5.0  # seconds for a change to be seen
CONNECTIONS = 6  # of the load beside it

Shows = Callable[[int, Any], bool]  # whether an answer, its status and its document, shows the change


@dataclass(frozen=True)
class Change:
    """One change that is about to be made: by whom it is seen, how it is made, and what shows it.

    `make` returns when the change has been confirmed.
    """

    token: str
    make: Callable[[], object]
    shows: Shows


@dataclass(frozen=True)
class Seen:
    """What was seen of one change, in ms after it was confirmed: the first answer that shows it, and the last old one.

    An answer that does not show the change is old if it was asked for after the change was confirmed.
    """

    first_new: float
    last_old: float
    old: int


def fresh(crowd: Crowd, extent: Extent) -> list[Figure]:
    """Changes of every kind at the same time, each kind of another person, under load."""
    kinds, tokens = _kinds(crowd), crowd.tokens()

    def watch(next_change: Callable[[], Change]) -> list[Seen]:
        return [_watched(crowd, next_change()) for _ in range(extent.changes)]

    with ThreadPoolExecutor(len(kinds)) as lanes:
        seen = {name: lanes.submit(watch, next_change) for name, next_change in kinds.items()}
        while not all(found.done() for found in seen.values()):
            load(crowd.gateway + PROFILE, tokens, seconds=2, connections=CONNECTIONS)
    return [row for name, found in seen.items() for row in _described(name, found.result())]


_THROUGH = "name changed through the gateway"


def _kinds(crowd: Crowd) -> dict[str, Callable[[], Change]]:
    """By its name, what makes a change of each kind."""
    tokens = crowd.tokens()
    bench = threading.Lock()  # one process makes changes by SQL and starts sessions

    def renaming(place: int, make: Callable[[int, str], object]) -> Callable[[], Change]:
        def change() -> Change:
            name = f"Person {secrets.token_hex(8)}"
            return Change(
                tokens[place],
                lambda: make(place, name),
                lambda status, document: status == 200 and document["name"] == name,
            )

        return change

    def at_gateway(place: int, name: str) -> None:
        ask(crowd.gateway, PROFILE, tokens[place], method="PATCH", payload={"name": name})

    def at_auth(place: int, name: str) -> None:
        ask(crowd.role(AUTH), "/internal/v1/account", tokens[place], method="PATCH", payload={"name": name})

    def by_sql(place: int, name: str) -> None:
        with bench:
            crowd.auth.do("rename", account=crowd.ids[place], name=name)

    def session_ended() -> Change:
        with bench:
            ended, other = crowd.sessions([crowd.ids[3]] * 2)
        session = _session_of(ended)
        return Change(
            ended,
            lambda: ask(crowd.role(AUTH), f"/internal/v1/sessions/{session}", other, method="DELETE", status=204),
            lambda status, document: status == 401,
        )

    collector = max(range(4, 60), key=lambda place: len(_images(crowd, tokens[place])))
    first, second = (image["id"] for image in _images(crowd, tokens[collector])[:2])
    chosen = {"next": first, "after": second}

    def image_chosen() -> Change:
        image = chosen["next"]
        chosen["next"], chosen["after"] = chosen["after"], chosen["next"]
        return Change(
            tokens[collector],
            lambda: ask(
                crowd.role(IMAGES_ROLE),
                "/internal/v1/profile-image",
                tokens[collector],
                method="PUT",
                payload={"image_id": image},
            ),
            lambda status, document: status == 200 and document["image"]["id"] == image,
        )

    return {
        _THROUGH: renaming(0, at_gateway),
        "name changed at auth": renaming(1, at_auth),
        "name changed in the database": renaming(2, by_sql),
        "session ended at auth": session_ended,
        "profile image chosen at images": image_chosen,
    }


def _watched(crowd: Crowd, change: Change) -> Seen:
    """Makes the change, while the person's profile is asked for, until everybody has seen it and a while longer.

    Raises:
        TimeoutError: somebody has not seen it within PATIENCE.
    """
    asked: list[list[tuple[float, float, bool]]] = [[] for _ in range(ASKERS)]
    over = threading.Event()
    threads = [threading.Thread(target=_ask, args=(crowd.gateway, change, answers, over)) for answers in asked]
    for thread in threads:
        thread.start()
    try:
        _until(lambda: all(asked), "the profile was answered")
        change.make()
        made = time.monotonic()
        _until(lambda: all(answers[-1][2] for answers in asked), "the change was seen")
        time.sleep(WATCHED)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    every = [answer for answers in asked for answer in answers]
    old = [ended for began, ended, new in every if began > made and not new]
    return Seen(
        first_new=1000 * max(0.0, min(ended for _, ended, new in every if new) - made),
        last_old=1000 * (max(old) - made) if old else 0.0,
        old=len(old),
    )


def _ask(gateway: str, change: Change, answers: list[tuple[float, float, bool]], over: threading.Event) -> None:
    """Asks for the profile over one connection; when each request began and ended, and whether it shows the change."""
    headers = {"Authorization": f"Bearer {change.token}"}
    with urllib3.PoolManager(retries=False, timeout=PATIENCE) as pool:
        while not over.is_set():
            began = time.monotonic()
            answer = pool.request("GET", gateway + PROFILE, headers=headers)
            ended = time.monotonic()
            answers.append((began, ended, change.shows(answer.status, json.loads(answer.data))))
            over.wait(EVERY)


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.005)


def _session_of(token: str) -> str:
    """The session that an access token says it belongs to."""
    from joserfc.util import urlsafe_b64decode

    claims = json.loads(urlsafe_b64decode(token.split(".")[1].encode()))
    return str(claims["sid"])


def _images(crowd: Crowd, token: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = ask(crowd.gateway, IMAGES, token)["items"]
    return items


def _described(name: str, seen: Sequence[Seen]) -> list[Figure]:
    first, last = sorted(each.first_new for each in seen), sorted(each.last_old for each in seen)
    old = sum(each.old for each in seen)
    return [
        Figure.one(f"{name}: first answer that shows it, p50", statistics.median(first), "ms"),
        Figure.one(f"{name}: first answer that shows it, worst", first[-1], "ms"),
        Figure.one(f"{name}: last that does not, p50", statistics.median(last), "ms"),
        Figure.one(f"{name}: last that does not, p99", last[min(len(last) - 1, len(last) * 99 // 100)], "ms"),
        Figure.one(
            f"{name}: last that does not, worst", last[-1], "ms", goal=at_most(1_000), note=f"{len(seen)} changes"
        ),
        Figure.one(f"{name}: old answers", old, goal=at_most(0) if name == _THROUGH else None),
    ]
