"""What the gateway knows of the roles that it needs, asked all the time and not only when somebody calls.

The management process asks (`watch`); every worker can read what it saw last (`states`). The questions have connections
of their own: no circuit breaker and no limit of the workers' calls hears of them, and none keeps them from being asked.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from internal import metrics
from internal.connections import Connection, NotConnected
from internal.context import Deadline
from internal.names import Names
from internal.sharing import SharedDocument
from internal.sockets import held_to
from internal.transport import DEADLINE_HEADER

log = structlog.get_logger(__name__)

INTERVAL = 1.0  # seconds from one question to the next
TIMEOUT = 1.5  # seconds for an answer; a role needs one to say that its database does not answer
STALE = 6.0  # seconds after which what was seen last says nothing any more: whoever asks has stopped
REPLY_LIMIT = 64 * 1024  # bytes of an answer
LONGEST_TEXT = 100  # characters of a version

STARTED_AT = time.time()  # when the gateway's master loaded this, in seconds since the epoch

PARTS: Mapping[str, tuple[str, ...]] = {"auth": ("database",), "images": ("database", "storage")}
"""The dependencies, each with what it needs itself, as its status names it."""

_boards = {name: SharedDocument() for name in PARTS}
_publishing = threading.Lock()  # so that nothing is withdrawn that has just been heard


@dataclass(frozen=True, slots=True)
class PartState:
    """Something that a dependency needs. `up` is None while it is not known; `since` in seconds since the epoch."""

    name: str
    up: bool | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class DependencyState:
    """What was seen of a dependency. Moments are in seconds since the epoch, 0 for one that never was.

    Attributes:
        name: "auth" or "images".
        up: whether it can do its work, with everything that it needs; None while it is not known.
        since: since when `up` has been what it is, as far as this gateway has seen.
        answers: whether the role itself answers; None while it is not known.
        fault: how it does not answer: "refused", "timed out", "cut off", "unreachable", "failed" for an error of its
            own, "not understood" for an answer that is none of a role; empty if it does.
        parts: what it needs; not known while the role itself does not answer.
        version, commit: the release, as the role said last; empty as long as it has not.
        checked_at: when it was asked last.
        stale: whether the one who asks has stopped, so that nothing is known.
    """

    name: str
    up: bool | None = None
    since: float = 0.0
    answers: bool | None = None
    fault: str = ""
    parts: tuple[PartState, ...] = ()
    version: str = ""
    commit: str = ""
    checked_at: float = 0.0
    stale: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not there: parts by name, or the dependency itself by its own."""
        if self.answers is False:
            return (self.name,)
        return tuple(part.name for part in self.parts if part.up is False)


class _NoStatus(Exception):
    """There was no answer to go by; the message is a `fault` of DependencyState."""


def states() -> tuple[DependencyState, ...]:
    """What the management process of this gateway last saw of each dependency; costs microseconds and never waits."""
    return tuple(_state(name) for name in PARTS)


def watch() -> None:
    """Asks each dependency for its status for ever, in a thread for each: what hangs holds up nobody else.

    If one of these threads comes to nothing any more, this one takes back what the gauge says.
    """
    addresses = {"auth": settings.AUTH_URL, "images": settings.IMAGES_URL}
    threads = [
        threading.Thread(target=_watch, args=(name, addresses[name]), name=f"watch-{name}", daemon=True)
        for name in PARTS
    ]
    for thread in threads:
        thread.start()
    while True:
        time.sleep(INTERVAL)
        withdraw()


def withdraw() -> None:
    """Makes the gauge say 0 of each dependency of which nothing was heard for STALE seconds: nobody may rely on it."""
    for name in PARTS:
        with _publishing:
            if _state(name).stale:
                metrics.DEPENDENCY_UP.labels(name).set(0)


def _state(name: str) -> DependencyState:
    document = _boards[name].read()
    if not document:
        nothing = DependencyState(name, parts=tuple(PartState(part) for part in PARTS[name]))
        return dataclasses.replace(nothing, since=STARTED_AT)
    state, asked_at = _decode(document)
    if time.monotonic() - asked_at <= STALE:
        return state
    since = state.checked_at
    parts = tuple(PartState(part.name, None, since) for part in state.parts)
    return dataclasses.replace(state, up=None, since=since, answers=None, fault="", parts=parts, stale=True)


def _watch(name: str, address: str) -> None:
    while True:
        began = time.monotonic()
        try:
            look(name, address)
        except Exception:
            log.exception("dependency_check_failed", dependency=name)
        time.sleep(max(0.0, began + INTERVAL - time.monotonic()))


def look(name: str, address: str) -> DependencyState:
    """Asks the dependency at this address once, and tells everybody: the metrics, the log, and `states`."""
    document = _boards[name].read()
    before = _decode(document)[0] if document else DependencyState(name)
    state = _judged(before, *_ask(name, address))
    with _publishing:
        _boards[name].write(_encode(state, time.monotonic()))
        metrics.DEPENDENCY_UP.labels(name).set(bool(state.up))
        metrics.DEPENDENCY_SINCE.labels(name).set(state.since)
    if (state.up, state.missing, state.fault) != (before.up, before.missing, before.fault):
        log.info(
            "dependency_changed", dependency=name, up=state.up, missing=list(state.missing), fault=state.fault or None
        )
    return state


def _ask(name: str, address: str) -> tuple[Mapping[str, str], str]:
    """The members of the status, or how it failed."""
    try:
        return _status(name, address), ""
    except _NoStatus as fault:
        return {}, str(fault)


def _judged(before: DependencyState, status: Mapping[str, str], fault: str) -> DependencyState:
    """The state that an answer (or the lack of one) makes of the one before."""
    now = time.time()
    known = {part.name: part for part in before.parts}
    parts = []
    for name in PARTS[before.name]:
        part = known.get(name, PartState(name))
        up = {"up": True, "down": False}.get(status.get(name, ""))
        parts.append(part if part.up is up and part.since else PartState(name, up, now))
    up = not fault and all(part.up for part in parts)
    return DependencyState(
        before.name,
        up=up,
        since=before.since if before.up is up else now,
        answers=not fault,
        fault=fault,
        parts=tuple(parts),
        version=status.get("version", before.version),
        commit=status.get("commit", before.commit),
        checked_at=now,
    )


@lru_cache(maxsize=8)
def _names(host: str, port: int) -> Names:
    return Names(host, port)


def _status(name: str, address: str) -> Mapping[str, str]:
    """What the role says of itself, on a connection that is opened for the question.

    Raises:
        _NoStatus: it says nothing in time, or something else.
    """
    parts = urlsplit(address)
    assert parts.hostname is not None
    deadline = Deadline.after(TIMEOUT)
    connection = Connection(parts.hostname, _names(parts.hostname, parts.port or 80))
    headers = {"Accept": "application/json", "Connection": "close", DEADLINE_HEADER: str(int(TIMEOUT * 1000))}
    try:
        with held_to(deadline):
            connection.open(deadline.remaining())
            connection.request("GET", "/internal/v1/status", headers=headers)
            response = connection.getresponse()
            body = response.read(REPLY_LIMIT + 1)
    except (http.client.HTTPException, ValueError, OSError) as error:
        cause = error.__cause__ if isinstance(error, NotConnected) else error
        raise _NoStatus(_fault(cause)) from None
    finally:
        connection.close()
    return _members(name, response.status, body)


def _fault(error: BaseException | None) -> str:
    match error:
        case TimeoutError():
            return "timed out"
        case ConnectionRefusedError():
            return "refused"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead() | ConnectionError():
            return "cut off"
        case http.client.HTTPException() | ValueError():
            return "not understood"
        case _:
            return "unreachable"


def _members(name: str, status: int, body: bytes) -> Mapping[str, str]:
    if status >= 500:
        raise _NoStatus("failed")
    try:
        document = json.loads(body) if status == 200 and len(body) <= REPLY_LIMIT else None
    except (ValueError, RecursionError):
        document = None
    needed = ("version", "commit", *PARTS[name])
    if (
        not isinstance(document, dict)
        or document.get("service") != name
        or not all(isinstance(document.get(member), str) for member in needed)
        or not all(document[part] in {"up", "down"} for part in PARTS[name])
    ):
        raise _NoStatus("not understood")
    return {member: document[member][:LONGEST_TEXT].encode(errors="replace").decode() for member in needed}


def _encode(state: DependencyState, asked_at: float) -> bytes:
    return json.dumps([dataclasses.asdict(state), asked_at]).encode()


@lru_cache(maxsize=8)
def _decode(document: bytes) -> tuple[DependencyState, float]:
    members: dict[str, Any]
    members, asked_at = json.loads(document)
    parts = tuple(PartState(**part) for part in members.pop("parts"))
    return DependencyState(**members, parts=parts), asked_at
