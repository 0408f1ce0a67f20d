"""Damaged and forged images: each is refused with a reason, or what is stored of it is a whole and harmless image.

Case n is the same in every run. SEAWALL_FUZZ_CASES asks for more of them, SEAWALL_FUZZ_FIRST for a run that begins at
another one: what a failure names can be tried by itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from images import decoding
from internal import context
from internal.problems import ProblemError
from tests.fuzz_images import mutants
from tests.images.conftest import Person
from tests.images.marked import MARK
from tests.images.roles import Role, answer, running_role

pytestmark = pytest.mark.django_db(transaction=True)

CASES = int(os.environ.get("SEAWALL_FUZZ_CASES") or 500)
FIRST = int(os.environ.get("SEAWALL_FUZZ_FIRST") or 0)
OVER_HTTP = 20  # every so manieth case is uploaded to the running role
MOST_MEMORY = 700e6 / 1024**2  # MiB that this process may ever take, pytest and all
PATIENCE = 10 * context.UPLOAD_DEADLINE  # seconds, on a loaded machine; the time of its own is judged for each case
DOCUMENTED = {"not_an_image", "too_many_pixels", "too_many_frames", "image_too_large"}


@pytest.fixture(scope="module")
def good() -> list[bytes]:
    return mutants.seeds()


@pytest.fixture
def role(tmp_path: Path, transactional_db: None) -> Iterator[Role]:
    with running_role(tmp_path) as running:
        yield running


def assert_harmless(pieces: dict[str, bytes], number: int) -> None:
    for name, data in pieces.items():
        assert MARK not in mutants.without_colours(data), f"case {number}: what was hidden is in the {name}"
        with Image.open(io.BytesIO(data)) as image:
            assert mutants.loads(image)


def converted(data: bytes, number: int) -> str:
    """The code of the refusal; empty for what is accepted, whose stored bytes are looked at."""
    try:
        with context.deadline_of(PATIENCE), decoding.converted(io.BytesIO(data)) as kept:
            pieces = {name: getattr(kept, name).file.read() for name in ("original", "avatar", "card")}
    except ProblemError as error:
        return error.problem.code
    assert_harmless(pieces, number)
    return ""


def test_every_mutant_is_refused_with_a_reason_or_comes_out_whole_and_harmless(
    good: list[bytes], record_testsuite_property: Callable[[str, object], None]
) -> None:
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(FIRST, FIRST + CASES):
        data = mutants.mutant(number, good)
        started = time.thread_time()  # what others do on this machine does not count
        try:
            code = converted(data, number)
        except Exception as error:
            raise AssertionError(f"case {number} ({len(data)} bytes, {data[:12]!r})") from error
        slowest = max(slowest, time.thread_time() - started)
        assert code in DOCUMENTED | {""}, f"case {number}"
        outcomes[code or "accepted"] += 1

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = ", ".join(f"{count} {code}" for code, count in outcomes.most_common())
    record_testsuite_property("figure", f"{said}; slowest {slowest:.2f} s, memory {most:.0f} MiB")
    print(f"\n{said}; slowest {slowest:.2f} s, memory {most:.0f} MiB")
    assert slowest < context.UPLOAD_DEADLINE
    assert most < MOST_MEMORY
    assert CASES / 10 < outcomes["accepted"] < CASES * 0.9


def test_mutants_over_http_are_stored_whole_or_refused(role: Role, good: list[bytes]) -> None:
    statuses: Counter[int] = Counter()
    person = Person()
    for number in range(FIRST, FIRST + CASES, OVER_HTTP):
        data = mutants.mutant(number, good)
        if statuses[201] % 400 == 399:
            person = Person()  # nobody may keep more than 500
        status, body = upload(role, person, data)
        statuses[status] += 1
        assert status in {201, 422}, f"case {number}: {status} {body}"
        if status == 201:
            paths = {name: role.root / body[name].removeprefix("/") for name in ("path", "avatar_path", "card_path")}
            assert_harmless({name: path.read_bytes() for name, path in paths.items()}, number)
        else:
            assert body["code"] in DOCUMENTED
    print(f"\n{dict(statuses)}")
    assert set(statuses) == {201, 422}


def upload(role: Role, person: Person, data: bytes) -> tuple[int, Any]:
    connection = role.begin(person, str(len(data)))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.send(data)
    return answer(connection)
