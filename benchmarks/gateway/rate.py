"""Requests a second, how long they take and what they cost, beside a bare view."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.gateway.crowd import Crowd
from benchmarks.gateway.extent import Extent
from benchmarks.gateway.load import GENERATOR, Load, load
from benchmarks.gateway.people import ASK, IMAGES, PROFILE, ask
from benchmarks.gateway.servers import bare_view
from benchmarks.images.figures import Figure, Goal, alternate, at_least, at_most, ratios
from benchmarks.images.servers import Server

CONNECTIONS = (1, 10, 50)
CHANGES = 0.02  # of all requests, where some change something
SETTLED = 1.1  # a rate that is no more than so many times the one before has settled
MEETINGS = 8  # requests for each person and worker, after which one in 3,000 of these has not met
PATIENCE = 40  # turns of two seconds for a rate to settle
WORKERS = 2  # of the gateway
_BARE_PROFILE, _BARE_IMAGES = "/bare/profile", "/bare/images"


def rate(crowd: Crowd, extent: Extent) -> list[Figure]:
    """Profile and image list as people read them, beside bare views that answer with as much."""
    rows: list[Figure] = []
    with bare_view(_documents(crowd)) as bare:
        for connections in CONNECTIONS:
            warm(crowd, PROFILE)
            warm(crowd, IMAGES)
            rows += _compared(crowd, extent, bare, connections, {}, goals=True)
    return rows


def cold(crowd: Crowd, extent: Extent) -> list[Figure]:
    """The same where the gateway must ask both roles each time."""
    rows: list[Figure] = []
    with bare_view(_documents(crowd)) as bare:
        for connections in CONNECTIONS:
            rows += _compared(crowd, extent, bare, connections, ASK, goals=False)
    return rows


def mixed(crowd: Crowd, extent: Extent) -> list[Figure]:
    """Profiles of people of whom some change their name all the time, beside those of people who do not."""
    rows: list[Figure] = []
    for connections in (10, 50):
        warm(crowd, PROFILE)
        tokens, processes = crowd.tokens(), crowd.processes()
        ours = partial(
            load,
            crowd.gateway + PROFILE,
            tokens,
            seconds=extent.seconds,
            connections=connections,
            processes=processes,
        )
        done = alternate(extent.rounds, {"read": ours, "changed": partial(ours, changes=CHANGES)})
        title = f"{_counted(connections)}, profile with {CHANGES:.0%} changes"
        rows += _described(title, done["changed"])
        of, to = ([each.per_second for each in done[kind]] for kind in ("changed", "read"))
        rows.append(ratios(f"{title} ÷ without, this run", of, to))
    return rows


def warm(crowd: Crowd, path: str) -> None:
    """Asks until each worker has met each person, and the rate has settled."""
    before, asked, tokens = 0.0, 0.0, crowd.tokens()
    for _ in range(PATIENCE):
        now = load(crowd.gateway + path, tokens, seconds=2, connections=50).per_second
        asked += 2 * now
        if asked > MEETINGS * WORKERS * len(tokens) and now < SETTLED * before:
            break
        before = now


def _compared(
    crowd: Crowd, extent: Extent, bare: Server, connections: int, headers: Mapping[str, str], *, goals: bool
) -> list[Figure]:
    """Each view under load in turns."""
    tokens, processes = crowd.tokens(), crowd.processes()
    bare_url = f"http://127.0.0.1:{bare.port}"
    both = partial(load, tokens=tokens, seconds=extent.seconds, connections=connections, headers=headers)
    ours = partial(both, processes=processes)
    theirs = partial(both, processes={"bare view": bare.processes})
    for url in (bare_url + _BARE_PROFILE, bare_url + _BARE_IMAGES, crowd.gateway + PROFILE, crowd.gateway + IMAGES):
        load(url, tokens, seconds=1 if url.startswith(bare_url) else 2, connections=connections, headers=headers)
    done = alternate(
        extent.rounds,
        {
            "bare profile": partial(theirs, bare_url + _BARE_PROFILE),
            "profile": partial(ours, crowd.gateway + PROFILE),
            "bare list": partial(theirs, bare_url + _BARE_IMAGES),
            "image list": partial(ours, crowd.gateway + IMAGES),
        },
    )
    rows: list[Figure] = []
    for name, other in (("profile", "bare profile"), ("image list", "bare list")):
        title = f"{_counted(connections)}, {name}"
        aimed = goals and name == "profile"
        rows += _described(
            title,
            done[name],
            at_least(1_000) if aimed and connections == 10 else None,
            at_most(50) if aimed and connections == 10 else None,
        )
        of, to = ([each.per_second for each in done[kind]] for kind in (name, other))
        rows.append(Figure(f"{title}, bare view", tuple(to), "/s"))
        rows.append(Figure(f"{title}, bare view: p50", tuple(each.p50_ms for each in done[other]), "ms"))
        rows.append(Figure(f"{title}, bare view: p99", tuple(each.p99_ms for each in done[other]), "ms"))
        rows.append(_cpu(f"{title}, bare view: CPU a request", done[other], "bare view"))
        rows.append(ratios(f"{title} ÷ bare view", of, to, goal=at_least(0.4) if aimed else None))
        spent = [sum(each.cpu_ms.values()) - each.cpu_ms[GENERATOR] for each in done[name]]
        rows.append(ratios(f"{title} ÷ bare view: CPU of all roles", spent, [_bare(each) for each in done[other]]))
    return rows


def _described(title: str, loads: list[Load], least: Goal | None = None, most: Goal | None = None) -> list[Figure]:
    """Rate, times and CPU of loads of the same kind."""
    return [
        Figure(title, tuple(each.per_second for each in loads), "/s", least),
        Figure(f"{title}: p50", tuple(each.p50_ms for each in loads), "ms"),
        Figure(f"{title}: p99", tuple(each.p99_ms for each in loads), "ms", most),
        *(_cpu(f"{title}: CPU a request, {who}", loads, who) for who in loads[0].cpu_ms),
        Figure(f"{title}: not answered with 200", tuple(each.failed_percent for each in loads), "%", at_most(0)),
    ]


def _bare(each: Load) -> float:
    return each.cpu_ms["bare view"]


def _cpu(name: str, loads: list[Load], who: str) -> Figure:
    return Figure(name, tuple(each.cpu_ms[who] for each in loads), "ms")


def _documents(crowd: Crowd) -> dict[str, Any]:
    """What the bare views answer with: a profile, and as many images as people have on a page on average."""
    tokens = crowd.tokens()
    pages = [ask(crowd.gateway, IMAGES, token) for token in tokens[:60]]
    images = math.ceil(statistics.mean(len(page["items"]) for page in pages))
    longest = max(pages, key=lambda page: len(page["items"]))
    return {
        _BARE_PROFILE: ask(crowd.gateway, PROFILE, tokens[0]),
        _BARE_IMAGES: longest | {"items": longest["items"][:images]},
    }


def _counted(connections: int) -> str:
    return f"{connections} connection{'s' if connections > 1 else ''}"
