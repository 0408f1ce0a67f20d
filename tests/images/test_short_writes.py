"""A disk that takes only the first part of a write: what it cut short is never taken for the whole."""

from __future__ import annotations

import io
from typing import Any

import pytest

from images import library
from images.models import Image
from internal.problems import ProblemError
from tests.images.conftest import Person
from tests.images.test_store import file_size_limit
from tests.running import picture

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_that_was_cut_short_while_it_was_written_is_refused(kind: str, person: Person, stored: Any) -> None:
    sent = picture(700, 500, kind=kind, noise=True)
    size = library.store_image(person.id, io.BytesIO(sent)).size_bytes
    before = stored()

    for missing in (1, 4096, 60_000):
        with file_size_limit(size - missing), pytest.raises(ProblemError) as refused:
            library.store_image(person.id, io.BytesIO(sent))
        assert refused.value.problem.code == "storage_full"

    assert stored() == before
    assert Image.objects.count() == 1
