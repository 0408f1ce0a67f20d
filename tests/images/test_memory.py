"""What the role takes when several people upload the dearest of all pictures; `make test-uploads` tries all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.images.roles import running_role
from tests.uploads.crowd import MOST_MEMORY, assert_answered, upload_all
from tests.uploads.largest import lossless_webp_with_alpha

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_dearest_pictures_are_worked_on_one_at_a_time_in_the_whole_role(
    tmp_path: Path, transactional_db: None
) -> None:
    data = lossless_webp_with_alpha()

    with running_role(tmp_path, workers=2) as role:
        upload = upload_all(role, data, 6)

    assert_answered(upload, 6)
    assert upload.peak < MOST_MEMORY
