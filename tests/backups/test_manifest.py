"""Manifest and inventory: what was written is read, and nothing else is taken for one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups import inventory
from backups import manifest as manifests
from backups.errors import Stopped
from backups.manifest import Dump, Invalid, Manifest, Newer, Piece
from internal.keys import NamedKey

KEYS = (NamedKey("new", b"n" * 32), NamedKey("old", b"o" * 32))
MOMENT = dt.datetime(2026, 11, 23, 17, 30, 12, 5, tzinfo=dt.UTC)
GOOD = Manifest(
    id="20261123T173012Z-0123abcd",
    release="1.2.3",
    commit="abc",
    started_at=MOMENT,
    finished_at=MOMENT + dt.timedelta(seconds=3),
    pieces={name: Piece(number, f"{number:064x}") for number, name in enumerate(manifests.PIECES)},
    databases={name: Dump("18.6", "18.6", ("credentials.0001_first",)) for name in ("auth.dump", "images.dump")},
    accounts=1,
    images=2,
    image_bytes=3,
    encryption_keys={"old": manifests.fingerprint(KEYS[1])},
)
LINE = {"name": "uploads/0b1c2d3e-0000-4000-8000-000000000001.png", "bytes": 5, "sha256": "0" * 64, "beside": ["a"]}


def test_what_was_written_is_read() -> None:
    assert Manifest.from_json(GOOD.to_json()) == GOOD
    assert manifests.began(GOOD.id) == MOMENT.replace(microsecond=0)
    assert manifests.began(manifests.new_id(MOMENT)) == MOMENT.replace(microsecond=0)


def test_ids_sort_as_the_backups_began() -> None:
    moments = [MOMENT + dt.timedelta(microseconds=each) for each in (0, 1, 15, 16, 256, 999_994, 999_995)]
    assert [each.microsecond for each in moments[-2:]] == [999_999, 0]
    ids = [manifests.new_id(moment) for moment in moments]
    assert ids == sorted(ids)
    assert len({manifests.new_id(MOMENT) for _ in range(5)}) > 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["id"], "../../etc"),
        (["id"], 5),
        (["pieces", "auth.dump"], None),
        (["pieces", "auth.dump", "bytes"], -1),
        (["pieces", "auth.dump", "bytes"], "12"),
        (["pieces", "auth.dump", "sha256"], "abc"),
        (["pieces"], {}),
        (["pieces", "other"], {"bytes": 1, "sha256": "0" * 64}),
        (["databases"], []),
        (["databases", "auth.dump", "server"], "new"),
        (["databases", "auth.dump", "migrations"], [5]),
        (["started_at"], "yesterday"),
        (["started_at"], "2026-11-23T17:30:12"),
        (["accounts"], True),
        (["encryption_keys"], {"a": 1}),
        (["format"], "1"),
        (["format"], True),
    ],
)
def test_another_document_is_none(path: list[str], value: Any) -> None:
    document = json.loads(GOOD.to_json())
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value

    with pytest.raises(Invalid):
        Manifest.from_json(json.dumps(document).encode())


@pytest.mark.parametrize("name", list(json.loads(GOOD.to_json())))
def test_nothing_may_be_missing(name: str) -> None:
    document = json.loads(GOOD.to_json())
    del document[name]

    with pytest.raises(Invalid):
        Manifest.from_json(json.dumps(document).encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_lies_there_is_told_in_words(text: bytes) -> None:
    with pytest.raises(Invalid):
        Manifest.from_json(text)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(json.loads(GOOD.to_json()))), json_values, min_size=1))
def test_a_manifest_with_other_values_is_one_or_is_told_in_words(changes: dict[str, Any]) -> None:
    text = json.dumps(json.loads(GOOD.to_json()) | changes).encode()
    try:
        read = Manifest.from_json(text)
    except Invalid:
        return
    assert Manifest.from_json(read.to_json()) == read


def test_one_of_a_newer_release_is_told_from_a_damaged_one() -> None:
    with pytest.raises(Newer, match="format 2, and this release knows 1"):
        Manifest.from_json(json.dumps({"format": 2, "what": "ever"}).encode())


def test_keys_are_known_again_by_themselves_and_not_by_their_names() -> None:
    manifests.require_keys(GOOD, KEYS)
    manifests.require_keys(dataclasses.replace(GOOD, encryption_keys={"old": ""}), KEYS)
    manifests.require_keys(dataclasses.replace(GOOD, encryption_keys={}), ())

    with pytest.raises(Stopped, match="'old' is missing"):
        manifests.require_keys(GOOD, KEYS[:1])
    with pytest.raises(Stopped, match="'old' is another key than it was"):
        manifests.require_keys(GOOD, (NamedKey("old", b"x" * 32),))
    assert KEYS[1].secret.hex() not in GOOD.to_json().decode()


def packed(*lines: Any) -> bytes:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    return gzip.compress("".join(f"{text}\n" for text in texts).encode())


@settings(max_examples=50)
@given(st.integers(1, 64))
def test_an_inventory_is_read_in_chunks_of_any_size(size: int) -> None:
    lines = [LINE | {"bytes": number} for number in range(50)]
    content = packed(*lines)
    chunks = [content[start : start + size] for start in range(0, len(content), size)]

    read = list(inventory.entries(chunks))

    assert [entry.bytes for entry in read] == list(range(50))
    assert read[0].image_id == UUID("0b1c2d3e-0000-4000-8000-000000000001")
    assert read[0].beside == ("a",)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "ends early"),
        (b"no gzip at all", "cannot be unpacked"),
        (packed(LINE, LINE)[:-9], "ends early"),
        (packed(LINE, "{"), "line 2 is not one"),
        (packed("[" * 5000), "line 1 is not one"),
        (packed({"name": "uploads/a.png"}), "line 1 is not one"),
        (packed(LINE | {"name": "../../0b1c2d3e-0000-4000-8000-000000000001.png"}), "line 1 is not one"),
        (packed("x" * 10_000_000), "a line has no end"),
    ],
    ids=["empty", "other", "short", "broken", "deep", "incomplete", "elsewhere", "endless"],
)
def test_another_file_is_no_inventory(content: bytes, fault: str) -> None:
    with pytest.raises(inventory.Damaged, match=fault):
        list(inventory.entries([content]))
