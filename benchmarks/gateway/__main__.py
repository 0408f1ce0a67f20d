"""`make bench-gateway`: one run on a system of its own with 1,000 people, each with a profile image, in random order.

Parts (all of them, or those that are named):

- rate: profile and image list beside a bare view of gunicorn and Django that answers with as much, with 1, 10 and 50
  connections: requests a second, how long one takes, what it costs each process.
- cold: the same where the gateway has to ask both roles each time (Cache-Control: no-cache).
- mixed: profiles, while 2 % of the requests change one.
- fresh: how old an answer can be after a change: through the gateway, at auth, at images, in the database.
- overload: three times the load that can be served: what is served, how the rest is refused, what probes see.
- steps: where the time of a request goes: gateway, auth, images, PostgreSQL.

A ratio is the median of the ratios of all rounds; smallest and largest stand beside it. Writes
benchmarks/results/gateway.json (git-ignored; `gateway-…` for a part or a quick run) and prints a table. Exit status 0
whatever the figures are, 2 when something is missing or for a wrong call.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.gateway.crowd import Crowd, crowd
from benchmarks.gateway.extent import Extent
from benchmarks.gateway.fresh import fresh
from benchmarks.gateway.overload import overload
from benchmarks.gateway.rate import cold, mixed, rate
from benchmarks.gateway.steps import print_steps, steps
from benchmarks.images.figures import Figure, print_table
from benchmarks.images.load import find_wrk

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "benchmarks" / "results"
PARTS: dict[str, tuple[str, Callable[[Crowd, Extent], list[Figure]]]] = {
    "rate": ("Profile and image list beside a bare view", rate),
    "cold": ("The same, both roles asked each time", cold),
    "mixed": ("Profiles while some change", mixed),
    "fresh": ("How old an answer can be", fresh),
    "overload": ("Three times the load that can be served", overload),
    "steps": ("Where the time of a request goes", steps),
}


def main() -> int:
    """Measures what was asked for, part by part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="to see that everything works: little of everything")
    parser.add_argument("--rounds", type=_count, metavar="N", help="turns of everything that is compared")
    parser.add_argument("--seconds", type=_count, metavar="N", help="of load in one turn")
    parser.add_argument("--people", type=_people, metavar="N", help="accounts in the system, 60 or more")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    if find_wrk() is None:
        print("Load comes from wrk, which is not here: install the package wrk.", file=sys.stderr)
        return 2
    extent = Extent.quick() if options.quick else Extent()
    given = {name: getattr(options, name) for name in ("rounds", "seconds", "people")}
    extent = replace(extent, **{name: value for name, value in given.items() if value})
    parts = [part for part in PARTS if part in (options.parts or PARTS)]
    name = "-".join(["gateway", *(["quick"] if options.quick else []), *(parts if options.parts else [])])
    _measure(parts, extent, RESULTS / f"{name}.json")
    return 0


def _measure(parts: list[str], extent: Extent, path: Path) -> None:
    """One part after the other; what is measured is kept after each."""
    path.parent.mkdir(exist_ok=True)
    result: dict[str, Any] = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 1),
        "extent": asdict(extent),
        "parts": {},
    }
    print(f"On {result['cores']} cores, load {result['load_average_before']} before:")
    with crowd(extent.people) as people:
        for part in parts:
            title, measure = PARTS[part]
            began = time.monotonic()
            figures = measure(people, extent)
            seconds = round(time.monotonic() - began)
            show = print_steps if part == "steps" else print_table
            show(f"{title} ({seconds} s)", figures)
            sys.stdout.flush()
            result["parts"][part] = {"seconds": seconds, "figures": [figure.document() for figure in figures]}
            path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"\nWritten to {path.relative_to(PROJECT)}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero.")
    return int(text)


def _people(text: str) -> int:
    if _count(text) < 60:
        raise argparse.ArgumentTypeError(f"{text} are too few: some are asked for on their own, give 60 or more.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
