"""Where the time of a request goes, step by step: inside the gateway, and inside the roles that it asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks.gateway.crowd import PROJECT, Crowd, environment_of
from benchmarks.gateway.extent import Extent
from benchmarks.gateway.load import cpu_ms, load
from benchmarks.gateway.people import ASK, IMAGES, PROFILE, ask
from benchmarks.gateway.servers import bare_view
from benchmarks.images.figures import Figure, number
from internal.transport import DEADLINE_HEADER

PEOPLE = 200  # who ask; each of them has asked before
LEAST = 1.0  # µs; shorter steps are added up
INSIDE: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("gateway", PROFILE, {}, "profile, kept"),
    ("gateway", PROFILE, ASK, "profile, asked"),
    ("gateway", IMAGES, {}, "list, kept"),
    ("gateway", IMAGES, ASK, "list, asked"),
    ("auth", "/internal/v1/account", {DEADLINE_HEADER: "2800"}, "auth: account"),
    ("images", "/internal/v1/profile-image", {DEADLINE_HEADER: "2800"}, "images: profile image"),
    ("images", "/internal/v1/images?limit=24", {DEADLINE_HEADER: "2800"}, "images: list"),
)
OVER, WITHIN, SERVER = "over HTTP, one connection", "in process", "gunicorn, sockets, client: the difference"
CPU = "CPU in process"


def steps(crowd: Crowd, extent: Extent) -> list[Figure]:
    """Every kind of request, in the process that answers it and over HTTP; the bare view first."""
    return list(_steps(crowd, extent))


def _steps(crowd: Crowd, extent: Extent) -> Iterator[Figure]:
    answer = ask(crowd.gateway, PROFILE, crowd.tokens()[0])
    tokens = crowd.tokens()[:PEOPLE]
    with bare_view({"/bare": answer}) as bare:
        over = _over_http(f"http://127.0.0.1:{bare.port}/bare", tokens, {}, extent.requests)
    environment = os.environ | {"BARE_ANSWERS": json.dumps({"/bare": answer})}
    yield from _whole("bare view", over, _inside(environment, "/bare", tokens, {}, extent.requests))
    for role, path, headers, title in INSIDE:
        yield from _of_role(crowd, extent, role, path, headers, title)


def _of_role(
    crowd: Crowd, extent: Extent, role: str, path: str, headers: Mapping[str, str], title: str
) -> Iterator[Figure]:
    tokens, others = crowd.tokens()[:PEOPLE], crowd.processes()
    over = _over_http(crowd.role(list(others).index(role)) + path, tokens, headers, extent.requests)
    before = {name: cpu_ms(processes) for name, processes in others.items() if name != role}
    found = _inside(environment_of(crowd.system, role), path, tokens, headers, extent.requests)
    yield from _whole(title, over, found)
    for name, cpu in before.items():
        spent = (cpu_ms(others[name]) - cpu) / (2 * (extent.requests + len(tokens)))
        yield _us(f"{title}: CPU of {name} meanwhile", 1000 * spent)
    for name, spent in found["steps"].items():
        if spent >= LEAST:
            yield _us(f"{title}: · {name}", spent)
    yield _us(f"{title}: · everything shorter", sum(spent for spent in found["steps"].values() if spent < LEAST))
    yield _us(f"{title}: whole with the clocks", found["clocked"])
    yield _us(f"{title}: one clock", found["overhead"])


def _whole(title: str, over: float, found: Mapping[str, Any]) -> Iterator[Figure]:
    yield _us(f"{title}: {OVER}", over)
    yield _us(f"{title}: {WITHIN}", found["whole"])
    yield _us(f"{title}: {SERVER}", over - found["whole"])
    yield _us(f"{title}: {CPU}", 1000 * found["cpu"])


def print_steps(title: str, figures: Iterable[Figure]) -> None:
    """Prints a line for each step and a column for each kind of request, in µs; longest steps first."""
    columns: dict[str, dict[str, float]] = {}
    kinds = ["bare view", *(kind for *_, kind in INSIDE)]
    for figure in figures:
        kind = next(kind for kind in kinds if figure.name.startswith(f"{kind}: "))
        columns.setdefault(kind, {})[figure.name.removeprefix(f"{kind}: ")] = figure.value or 0.0
    rows = list(dict.fromkeys(name for column in columns.values() for name in column))
    whole = [name for name in rows if not name.startswith("· ")]
    own = [name for name in rows if name.startswith("· ")]
    own.sort(key=lambda name: -sum(column.get(name, 0.0) for column in columns.values()))
    print(f"\n{title}, medians in µs; · is the time of a step without the steps inside it")
    print(f"  {'':46} {' '.join(f'{kind:>{_width(kind)}}' for kind in columns)}")
    for name in [*whole, *own]:
        cells = (
            f"{number(column[name]) if name in column else '':>{_width(kind)}}" for kind, column in columns.items()
        )
        print(f"  {name:46} {' '.join(cells)}".rstrip())


def _width(kind: str) -> int:
    return max(9, len(kind))


def _inside(
    environment: Mapping[str, str], path: str, tokens: list[str], headers: Mapping[str, str], requests: int
) -> dict[str, Any]:
    """Has the requests answered in a process of the role (benchmarks.gateway.steps_inside)."""
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as metrics, tempfile.TemporaryFile() as log:
        finished = subprocess.run(
            [sys.executable, "-m", "benchmarks.gateway.steps_inside"],
            cwd=PROJECT,
            env={**environment, "PROMETHEUS_MULTIPROC_DIR": metrics},
            input=json.dumps({"path": path, "tokens": tokens, "headers": dict(headers), "requests": requests}),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        if finished.returncode:
            log.seek(0)
            raise RuntimeError(f"{path} in process:\n{log.read().decode(errors='replace')[-2000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _over_http(url: str, tokens: list[str], headers: Mapping[str, str], requests: int) -> float:
    """The median of requests over one connection, in µs."""
    return 1000 * load(url, tokens, seconds=max(1, requests // 500), connections=1, headers=headers).p50_ms


def _us(name: str, value: float) -> Figure:
    return Figure.one(name, value, "µs")
