"""Three times the load that the gateway can serve: what is still served, how the rest is refused, what probes see."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

import urllib3

from benchmarks.gateway.crowd import PROJECT, Crowd
from benchmarks.gateway.extent import Extent
from benchmarks.gateway.load import load
from benchmarks.gateway.people import ASK, PROFILE
from benchmarks.gateway.rate import warm
from benchmarks.images.figures import Figure, Goal, at_least, at_most

CONNECTIONS = (4, 10, 50, 100)  # among which the best throughput is sought
TIMES = 3
PROBES = ("/livez", "/readyz", "/metrics")
EVERY = 0.25  # seconds
_NONE = at_most(0)


def overload(crowd: Crowd, extent: Extent) -> list[Figure]:
    """Profiles that are kept, and profiles for which both roles are asked."""
    warm(crowd, PROFILE)
    return [
        *_overloaded(crowd, extent, "kept", {}),
        *_overloaded(crowd, extent, "asked", ASK),
    ]


def _overloaded(crowd: Crowd, extent: Extent, kind: str, headers: Mapping[str, str]) -> list[Figure]:
    url, tokens = crowd.gateway + PROFILE, crowd.tokens()
    rates = {
        connections: load(url, tokens, seconds=extent.seconds, connections=connections, headers=headers).per_second
        for connections in CONNECTIONS
    }
    most = max(rates, key=lambda connections: rates[connections])
    seconds = 4 * extent.seconds
    with Probes(crowd.management) as probes:
        found = _offered(crowd, headers, TIMES * rates[most], seconds)
    after = load(url, tokens, seconds=extent.seconds, connections=most, headers=headers).per_second
    best = statistics.fmean([rates[most], after])  # of a machine whose speed may have changed meanwhile
    times: dict[str, list[float]] = found["times"]
    tallies: dict[str, int] = found["tallies"]
    served, refused = times.get("200", []), times.get("503", [])
    sent = tallies["sent"]
    others = sum(len(each) for status, each in times.items() if status not in {"200", "503"})
    lasted = tallies["sending_ms"] / 1000
    offered = (
        f"of {tallies['due'] / seconds:,.0f} that were due; {tallies['connections']} connections were opened; "
        f"the generator took {tallies['cpu_percent']} % of a core"
    )
    sought = ", ".join(f"{connections}: {rate:,.0f}" for connections, rate in rates.items())
    rows = [
        Figure.one(f"{kind}: best throughput", best, "/s", note=f"{sought}; afterwards with {most}: {after:,.0f}"),
        Figure.one(f"{kind}: offered", sent / lasted, "/s", note=offered),
        Figure.one(f"{kind}: offered ÷ best", sent / lasted / best),
        Figure.one(f"{kind}: served meanwhile", tallies["200 meanwhile"] / lasted, "/s"),
        Figure.one(f"{kind}: served meanwhile ÷ best", tallies["200 meanwhile"] / lasted / best, goal=at_least(0.8)),
        Figure.one(f"{kind}: refused with 503", 100 * len(refused) / sent, "%"),
        Figure.one(f"{kind}: 503 without Retry-After", len(refused) - tallies.get("with Retry-After", 0), goal=_NONE),
        Figure.one(f"{kind}: other answers, by status", others, goal=_NONE),
        Figure.one(f"{kind}: connections broken off", tallies.get("failed", 0), goal=_NONE),
        Figure.one(f"{kind}: not answered within 5 s", tallies["lost"], goal=_NONE),
        Figure.one(f"{kind}: not offered for want of connections", tallies.get("not offered", 0), goal=_NONE),
        *_times(f"{kind}: until served", served),
        *_times(f"{kind}: until refused", refused, at_most(100)),
    ]
    for path in PROBES:
        seen = probes.seen[path]
        rows.append(Figure.one(f"{kind}: {path} meanwhile, p99", _percentile(seen, 99), "ms"))
        note = f"{len(seen)} times, {probes.failures[path]} without an answer of 200"
        rows.append(Figure.one(f"{kind}: {path} meanwhile, worst", max(seen), "ms", goal=at_most(100), note=note))
    return rows


def _offered(crowd: Crowd, headers: Mapping[str, str], rate: float, seconds: int) -> dict[str, Any]:
    """Has the requests sent by a process of its own (benchmarks.gateway.offered)."""
    port = crowd.system.port_base
    task = {"port": port, "path": PROFILE, "headers": dict(headers), "tokens": crowd.tokens()}
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway.offered"],
        cwd=PROJECT,
        input=json.dumps(task | {"rate": rate, "seconds": seconds}),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


class Probes:
    """Asks the management port again and again, while the block runs. `seen` are ms by path."""

    def __init__(self, url: str) -> None:
        self.seen: dict[str, list[float]] = {path: [] for path in PROBES}
        self.failures = dict.fromkeys(PROBES, 0)
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(path,), daemon=True) for path in PROBES]

    def _ask(self, path: str) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=5)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                answered = pool.request("GET", self._url + path, headers={"Connection": "close"}).status == 200
            except urllib3.exceptions.HTTPError:
                answered = False
            self.seen[path].append(1000 * (time.monotonic() - began))
            self.failures[path] += not answered
            self._over.wait(EVERY)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _times(name: str, times: Sequence[float], goal: Goal | None = None) -> list[Figure]:
    if not times:
        return [Figure.missing(name, "there was none")]
    return [
        Figure.one(f"{name}, p50", statistics.median(times), "ms"),
        Figure.one(f"{name}, p99", _percentile(times, 99), "ms", goal=goal),
    ]


def _percentile(times: Sequence[float], percent: int) -> float:
    return sorted(times)[min(len(times) - 1, len(times) * percent // 100)]
