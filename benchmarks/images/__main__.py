"""`make bench-images`: one run, everything that is compared side by side and in turns, on servers of its own.

Parts (all of them, or those that are named):

- reads: 50 KB and 1 MB through `files`, beside the same nginx with a bare configuration, and beside Go's file server.
- crowds: reads a second, and how long one takes, with 1, 10, 100 and 500 connections.
- counting: what the log of reads and its metrics cost.
- cached: reads of images in S3, through the cache, beside reads from a volume; how many of them reach Python.
- uploads: an upload beside the work that it cannot do without, and where the rest of the time goes.
- growth: upload, list, read and verify in stores of 1,000, 10,000 and 100,000 images.

A ratio is the median of the ratios of all rounds; smallest and largest stand beside it. Writes
benchmarks/results/images.json (git-ignored; `images-…` for a part or a quick run) and prints a table. Exit status 0
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

from benchmarks.images.cached import cached
from benchmarks.images.extent import Extent
from benchmarks.images.figures import Figure, print_table
from benchmarks.images.growth import LEAST, growth
from benchmarks.images.load import CONNECTIONS, find_wrk
from benchmarks.images.reads import beside_others, counting, crowds
from benchmarks.images.uploads import uploads

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "benchmarks" / "results"
PARTS: dict[str, tuple[str, Callable[[Extent], list[Figure]]]] = {
    "reads": (f"Reads beside other servers, {CONNECTIONS} connections", beside_others),
    "crowds": ("Reads as connections grow", crowds),
    "counting": (f"What counting costs, {CONNECTIONS} connections", counting),
    "cached": (f"Reads of images in S3, {CONNECTIONS} connections", cached),
    "uploads": ("Uploads", uploads),
    "growth": ("As the store grows", growth),
}
_LOADED = {"reads", "crowds", "counting", "cached"}


def main() -> int:
    """Measures what was asked for, part by part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="to see that everything works: little of everything")
    parser.add_argument("--rounds", type=_count, metavar="N", help="turns of everything that is compared")
    parser.add_argument("--seconds", type=_count, metavar="N", help="of load in one turn")
    parser.add_argument("--images", type=_count, nargs="+", metavar="N", help="sizes of the stores, smallest first")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    sizes = options.images
    if sizes and (len(sizes) < 2 or sizes[0] < LEAST or sorted(set(sizes)) != sizes):
        parser.error(f"--images needs two sizes or more, smallest first, from {LEAST} on")
    extent = Extent.quick() if options.quick else Extent()
    given = {"rounds": options.rounds, "seconds": options.seconds, "stores": tuple(sizes or ())}
    extent = replace(extent, **{name: value for name, value in given.items() if value})
    parts = [part for part in PARTS if part in (options.parts or PARTS)]
    if _LOADED & set(parts) and find_wrk() is None:
        print("Reads are measured with wrk, which is not here: install the package wrk.", file=sys.stderr)
        return 2
    name = "-".join(["images", *(["quick"] if options.quick else []), *(parts if options.parts else [])])
    _measure(parts, extent, RESULTS / f"{name}.json")
    return 0


def _measure(parts: list[str], extent: Extent, path: Path) -> None:
    """One part after the other; what is measured is kept after each."""
    path.parent.mkdir(exist_ok=True)
    result: dict[str, Any] = {
        "measured_at": _now(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_before": round(os.getloadavg()[0], 1),
        "extent": asdict(extent),
        "parts": {},
    }
    print(f"On {result['cores']} cores, load {result['load_average_before']} before:")
    for part in parts:
        title, measure = PARTS[part]
        began = time.monotonic()
        figures = measure(extent)
        seconds = round(time.monotonic() - began)
        print_table(f"{title} ({seconds} s)", figures)
        sys.stdout.flush()
        result["parts"][part] = {"seconds": seconds, "figures": [figure.document() for figure in figures]}
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"\nWritten to {path.relative_to(PROJECT)}")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero.")
    return int(text)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    sys.exit(main())
