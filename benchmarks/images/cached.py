"""Reads of images in S3, through the cache of `files`, beside reads from a volume."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.images import servers
from benchmarks.images.extent import Extent
from benchmarks.images.figures import Figure, alternate, at_most, ratios
from benchmarks.images.load import load
from benchmarks.images.reads import LARGE, SMALL, WORDS, images
from tests.s3server import s3_server

CHECKED_AGAIN = 30.0  # seconds after which the cache asks the origin whether an image is still there


def cached(extent: Extent) -> list[Figure]:
    """Cached reads ÷ reads from the volume, and how many of them reached Python."""
    stored = {name: content for name, content in images().items() if name in (SMALL, LARGE)}
    rows: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="seawall-bench-") as folder, s3_server(Path(folder) / "s3") as s3:
        for name, content in stored.items():
            s3.client().put_object(Bucket=s3.bucket, Key=f"uploads/{name}", Body=content, ContentType="image/png")
        with (
            servers.images_role(s3.environment()) as origin,
            servers.cached_files(origin.address) as cache,
            servers.files(stored) as volume,
        ):
            running = {"cached": cache, "volume": volume}
            for name, content in stored.items():
                for server in running.values():
                    assert servers.fetch(server.url(name)) == content, "what was read is not what was stored"
            asked, began, reads = origin.requests(), time.monotonic(), 0
            assert asked >= len(stored), "the first reads have not been counted, so the others would not be, either"
            for name in stored:
                turns = {
                    label: partial(load, server.url(name), seconds=extent.seconds, servers=server.processes)
                    for label, server in running.items()
                }
                done = alternate(extent.rounds, turns)
                reads += sum(each.reads for each in done["cached"])
                rates = {label: [each.per_second for each in loads] for label, loads in done.items()}
                words = WORDS[name]
                rows.append(Figure(f"reads of {words}, cached in front of S3", tuple(rates["cached"]), "/s"))
                rows.append(ratios(f"{words}: cached in front of S3 ÷ volume", rates["cached"], rates["volume"]))
            asked, passed = origin.requests() - asked, time.monotonic() - began
    most = len(stored) * (passed // CHECKED_AGAIN + 1)
    rows.append(Figure.one(f"of {reads:,} hot reads, how many reached Python", asked, goal=at_most(most)))
    return rows
