"""What works for people at this moment and what does not, in their words: made of what the gateway knows by itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from internal import dependencies
from internal.dependencies import DependencyState

WORKS, IN_PART, FAILS, UNKNOWN = "works", "in_part", "fails", "unknown"
STATES: Mapping[str, str] = {
    WORKS: "Works",
    IN_PART: "Works in part",
    FAILS: "Does not work",
    UNKNOWN: "Not known",
}
ALL_WORKS = "Everything works."
SOME_FAIL = "Some things do not work at this moment."
NOT_KNOWN = "It is not known at this moment what works."

_FAULTS: Mapping[str, str] = {
    "refused": "does not answer: it refuses connections",
    "timed out": "does not answer in time",
    "cut off": "breaks off before it has answered",
    "unreachable": "cannot be reached",
    "failed": "answers with an error of its own",
    "not understood": "answers with something that is not understood here",
}
_NAMES: Mapping[str, str] = {"auth": "Accounts and sign-in", "images": "Images"}
_PARTS: Mapping[str, str] = {"database": "Its database", "storage": "Its store"}


@dataclass(frozen=True)
class Ability:
    """Something that people do here. `state` is one of STATES."""

    code: str
    title: str
    state: str
    text: str

    @property
    def state_in_words(self) -> str:
        return STATES[self.state]


@dataclass(frozen=True)
class Part:
    """A line of what a service needs; `since` only where it is known how the part is."""

    title: str
    text: str
    since: dt.datetime | None = None


@dataclass(frozen=True)
class Service:
    """A service behind the portal. `name` is its role's."""

    name: str
    title: str
    state: str
    since: dt.datetime
    version: str
    commit: str
    parts: tuple[Part, ...] = ()

    @property
    def state_in_words(self) -> str:
        return STATES[self.state]


@dataclass(frozen=True)
class Outlook:
    """All of it. `missing` has what does not work, as words within a sentence."""

    abilities: tuple[Ability, ...]
    services: tuple[Service, ...]
    portal: Service
    missing: tuple[str, ...]
    states: tuple[DependencyState, ...]

    @property
    def state(self) -> str:
        states = {ability.state for ability in self.abilities}
        if FAILS in states or IN_PART in states:
            return FAILS
        return UNKNOWN if UNKNOWN in states else WORKS

    @property
    def summary(self) -> str:
        return {WORKS: ALL_WORKS, FAILS: SOME_FAIL, UNKNOWN: NOT_KNOWN}[self.state]

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "state": self.state,
            "summary": self.summary,
            "abilities": [
                {"code": ability.code, "state": ability.state, "text": ability.text} for ability in self.abilities
            ],
            "dependencies": [_state_to_json(state) for state in self.states],
            "gateway": {
                "version": self.portal.version,
                "commit": self.portal.commit,
                "since": _to_json(dependencies.STARTED_AT),
            },
        }


def outlook() -> Outlook:
    """What is known now; asks nobody, and costs next to nothing."""
    return _outlook(dependencies.states())


@lru_cache(maxsize=4)
def _outlook(states: tuple[DependencyState, ...]) -> Outlook:
    auth, images = states
    sign_in = auth.up
    records = _part(images, "database")
    store = _both(records, _part(images, "storage"))
    abilities = (_sign_in(sign_in), _profile(sign_in, records), _gallery(sign_in, records), _uploads(sign_in, store))
    words = {"sign_in": "signing in and registering", "gallery": "galleries", "uploads": "uploads"}
    return Outlook(
        abilities=abilities,
        services=tuple(_service(state) for state in states),
        portal=Service(
            "gateway",
            "This portal",
            WORKS,
            _moment(dependencies.STARTED_AT),
            settings.VERSION,
            settings.COMMIT,
        ),
        missing=tuple(words[ability.code] for ability in abilities if ability.state == FAILS),
        states=states,
    )


def _both(*known: bool | None) -> bool | None:
    """Whether all hold; None if that hangs on one that is not known."""
    return False if False in known else None if None in known else True


def _part(state: DependencyState, name: str) -> bool | None:
    if state.answers is False:
        return False
    return next(part.up for part in state.parts if part.name == name)


def _sign_in(auth: bool | None) -> Ability:
    match auth:
        case True:
            state, text = WORKS, "You can sign in and register."
        case False:
            text = "Nobody can sign in or register at this moment. Whoever is signed in stays signed in."
            state = FAILS
        case _:
            state, text = UNKNOWN, "We do not know yet whether you can sign in."
    return Ability("sign_in", "Signing in", state, text)


def _profile(auth: bool | None, records: bool | None) -> Ability:
    title = "Your profile"
    if auth is False:
        text = "It shows what your browser remembers. Password, sessions and changes have to wait."
        return Ability("profile", title, IN_PART, text)
    if records is False:
        text = "Your profile image may be out of date, and changing it has to wait. Everything else of it works."
        return Ability("profile", title, IN_PART, text)
    if _both(auth, records) is None:
        return Ability("profile", title, UNKNOWN, "We do not know yet whether it is whole.")
    return Ability("profile", title, WORKS, "You can see and change it, your password and your sessions.")


_FOR_MINUTES = "Only for some minutes more, and only if you are signed in: then your sign-in would have to be renewed."


def _gallery(auth: bool | None, records: bool | None) -> Ability:
    title = "Your gallery"
    if records is False:
        text = "Your images cannot be listed or changed at this moment. What is stored stays stored."
        return Ability("gallery", title, FAILS, text)
    if auth is False:
        return Ability("gallery", title, IN_PART, _FOR_MINUTES)
    if _both(auth, records) is None:
        return Ability("gallery", title, UNKNOWN, "We do not know yet whether your images can be listed.")
    return Ability("gallery", title, WORKS, "You can list, choose and delete your images.")


def _uploads(auth: bool | None, store: bool | None) -> Ability:
    title = "Uploads"
    if store is False:
        return Ability("uploads", title, FAILS, "Uploads are not possible at this moment.")
    if auth is False:
        return Ability("uploads", title, IN_PART, _FOR_MINUTES)
    if _both(auth, store) is None:
        return Ability("uploads", title, UNKNOWN, "We do not know yet whether uploads are possible.")
    return Ability("uploads", title, WORKS, "You can add images.")


def _service(state: DependencyState) -> Service:
    match state.up, state.missing:
        case True, _:
            word = WORKS
        case False, ("storage",):
            word = IN_PART
        case False, _:
            word = FAILS
        case _:
            word = UNKNOWN
    lines = [Part("The service", _answers(state.answers, state.fault))]
    for part in state.parts:
        since = _moment(part.since) if part.up is not None else None
        lines.append(Part(_PARTS[part.name], _answers(part.up), since))
    return Service(
        state.name, _NAMES[state.name], word, _moment(state.since), state.version, state.commit, tuple(lines)
    )


def _answers(up: bool | None, fault: str = "") -> str:
    if up is None:
        return "not known"
    return "answers" if up else _FAULTS.get(fault, "does not answer")


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _to_json(seconds: float) -> str | None:
    return _moment(seconds).isoformat(timespec="milliseconds").replace("+00:00", "Z") if seconds else None


def _word(up: bool | None) -> str:
    return {True: "up", False: "down", None: "unknown"}[up]


def _state_to_json(state: DependencyState) -> dict[str, Any]:
    return {
        "name": state.name,
        "state": _word(state.up),
        "since": _to_json(state.since),
        "missing": list(state.missing),
        "fault": state.fault or None,
        "parts": [{"name": part.name, "state": _word(part.up), "since": _to_json(part.since)} for part in state.parts],
        "version": state.version or None,
        "commit": state.commit or None,
        "checked_at": _to_json(state.checked_at),
        "stale": state.stale,
    }
