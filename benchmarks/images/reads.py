"""Reads through `files`: beside a bare nginx and Go, over more and more connections, with and without counting."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import replace
from functools import partial

from benchmarks.images import servers
from benchmarks.images.extent import Extent
from benchmarks.images.figures import Figure, alternate, at_least, at_most, ratios
from benchmarks.images.load import Load, load
from benchmarks.images.processor import keep_on

SMALL, LARGE, TINY = (f"0b1c2d3e-0000-4000-8000-00000000000{number}.png" for number in range(3))
SIZES = {SMALL: 50_000, LARGE: 1_000_000, TINY: 1_000}  # bytes
WORDS = {SMALL: "50 KB", LARGE: "1 MB", TINY: "1 KB"}
CROWDS = (1, 10, 100, 500)  # connections


def images() -> dict[str, bytes]:
    """The files that are read: bytes that mean nothing, which is all that a server sees of an image."""
    return {name: secrets.token_bytes(size) for name, size in SIZES.items()}


def beside_others(extent: Extent) -> list[Figure]:
    """`files` ÷ bare nginx, and ÷ Go."""
    stored = images()
    rows: list[Figure] = []
    with contextlib.ExitStack() as stack:
        running = {
            "files": stack.enter_context(servers.files(stored)),
            "bare nginx": stack.enter_context(servers.bare_nginx(stored)),
        }
        lacking = ""
        try:
            running["Go"] = stack.enter_context(servers.go_server(stored))
        except servers.LackingError as error:
            lacking = str(error)
        for name in (SMALL, LARGE):
            loads = _loads(running, name, extent)
            rates = {server: [each.per_second for each in done] for server, done in loads.items()}
            words = WORDS[name]
            rows += [Figure(f"reads of {words}, {server}", tuple(rate), "/s") for server, rate in rates.items()]
            rows.append(
                ratios(f"{words}: files ÷ bare nginx", rates["files"], rates["bare nginx"], goal=at_least(0.95))
            )
            rows.append(_cpu(f"{words}: files ÷ bare nginx, CPU of the server a read", loads, "files", "bare nginx"))
            goal = at_least(2) if name == SMALL else None
            title = f"{words}: files ÷ Go's http.FileServer"
            rows.append(
                ratios(title, rates["files"], rates["Go"], goal=goal)
                if "Go" in rates
                else Figure.missing(title, lacking)
            )
            if "Go" in rates:
                rows.append(
                    _cpu(f"{words}: Go's http.FileServer ÷ files, CPU of the server a read", loads, "Go", "files")
                )
    return rows


def crowds(extent: Extent) -> list[Figure]:
    """Reads a second and how long one takes, as connections grow, beside a bare nginx."""
    stored = images()
    rows: list[Figure] = []
    with servers.files(stored) as files, servers.bare_nginx(stored) as bare:
        running = {"files": files, "bare nginx": bare}
        for connections in CROWDS:
            loads = _loads(running, SMALL, extent, connections=connections, rounds=max(2, extent.rounds // 2))
            ours = loads["files"]
            title = f"{connections} connection{'s' if connections > 1 else ''}"
            rows.append(Figure(f"{title}: reads of 50 KB", tuple(each.per_second for each in ours), "/s"))
            for which in ("p50_ms", "p99_ms"):
                rows.append(Figure(f"{title}: {which[:3]}", tuple(getattr(each, which) for each in ours), "ms"))
            both = {server: [each.per_second for each in done] for server, done in loads.items()}
            rows.append(ratios(f"{title}: files ÷ bare nginx", both["files"], both["bare nginx"]))
    return rows


def counting(extent: Extent) -> list[Figure]:
    """What counting reads costs: the log that nginx writes, and the process that makes metrics of it.

    The difference is small, so the servers keep to one processor and the readers to another one, where there are two;
    and many short rounds are taken.
    """
    stored = images()
    rows: list[Figure] = []
    first, *others = sorted(os.sched_getaffinity(0))
    with servers.files(stored) as counted, servers.files(stored, counted=False) as uncounted:
        running = {"counted": counted, "uncounted": uncounted}
        if others:
            for server in running.values():
                keep_on(first, server.processes)
        many = replace(extent, rounds=5 * extent.rounds, seconds=1)
        for name in (SMALL, TINY):
            loads = _loads(running, name, many, core=others[0] if others else None)
            pairs = zip(loads["counted"], loads["uncounted"], strict=True)
            losses = tuple(100 * (1 - with_it.per_second / without.per_second) for with_it, without in pairs)
            goal = at_most(3) if name == SMALL else None
            rows.append(Figure(f"{WORDS[name]}: throughput lost by counting", losses, "%", goal))
            rows.append(
                _cpu(f"{WORDS[name]}: counted ÷ uncounted, CPU of the server a read", loads, "counted", "uncounted")
            )
    return rows


def _loads(
    running: dict[str, servers.Server],
    name: str,
    extent: Extent,
    *,
    connections: int = 64,
    rounds: int | None = None,
    core: int | None = None,
) -> dict[str, list[Load]]:
    """Each server under load in turns, after a second that does not count."""
    for server in running.values():
        load(server.url(name), seconds=1, connections=connections, core=core)
    return alternate(
        rounds or extent.rounds,
        {
            label: partial(
                load,
                server.url(name),
                seconds=extent.seconds,
                connections=connections,
                servers=server.processes,
                core=core,
            )
            for label, server in running.items()
        },
    )


def _cpu(name: str, loads: dict[str, list[Load]], of: str, to: str) -> Figure:
    return ratios(name, [each.cpu_us_per_read for each in loads[of]], [each.cpu_us_per_read for each in loads[to]])
