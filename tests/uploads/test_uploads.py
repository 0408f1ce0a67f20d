"""20 uploads of the largest legal picture at once, to the role as it runs: bounded memory, an answer for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images import limits
from internal.context import UPLOAD_DEADLINE
from tests.images.roles import Role, running_role
from tests.uploads.crowd import MOST_MEMORY, assert_answered, upload_all
from tests.uploads.largest import LARGEST

pytestmark = pytest.mark.django_db(transaction=True)

CROWD = 20
WAY = 1.0  # seconds for the way there and back: 20 times 10 MB, and a client that has only a share of the cores


@pytest.fixture
def role(tmp_path: Path, transactional_db: None) -> Iterator[Role]:
    with running_role(tmp_path, workers=2) as running:
        yield running


@pytest.mark.parametrize("draw", LARGEST, ids=lambda draw: draw.__name__)
def test_many_uploads_at_once_take_bounded_memory_and_are_all_answered_in_time(
    draw: Callable[[], bytes], role: Role, record_testsuite_property: Callable[[str, object], None]
) -> None:
    data = draw()
    assert len(data) <= limits.MAX_BYTES

    upload = upload_all(role, data, CROWD)

    figure = f"{draw.__name__} ({len(data) / 1e6:.1f} MB): {upload}"
    record_testsuite_property("figure", figure)
    print(f"\n{figure}")
    assert_answered(upload, CROWD)
    assert upload.peak < MOST_MEMORY
    assert any(answer.status == 201 for answer in upload.answers)
    assert max(answer.seconds for answer in upload.answers) <= UPLOAD_DEADLINE + WAY


def test_bodies_go_to_the_disk_and_not_through_memory(role: Role) -> None:
    upload = upload_all(role, b"text " * (limits.MAX_BYTES // 5), CROWD)

    print(f"\n{CROWD} bodies of 10 MB: {upload}")
    assert {(answer.status, answer.body["code"]) for answer in upload.answers} == {(422, "not_an_image")}
    assert upload.peak < upload.before + 40
