"""What a person was told had not worked is not committed."""

from __future__ import annotations

from uuid import uuid4

import pytest

from images import library
from images.changes import feed
from images.models import Image, Owner
from internal import context
from internal.problems import ProblemError
from tests.changes import Reader
from tests.images.test_changes import stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("change", ["delete", "choose", "clear", "close"])
def test_nothing_is_committed_for_somebody_who_has_stopped_waiting(change: str) -> None:
    """They were told that it did not work."""
    owner = uuid4()
    image, other = stored(owner), stored(owner)
    Image.objects.filter(pk=image.pk).update(is_profile_image=True)
    Owner.objects.create(account_id=owner, image_count=2, stored_bytes=2)
    does = {
        "delete": lambda: library.delete_image(owner, image.id),
        "choose": lambda: library.set_profile_image(owner, other.id),
        "clear": lambda: library.clear_profile_image(owner),
        "close": lambda: library.close_account(owner),
    }[change]
    reader, before = Reader(feed), list(Image.objects.of(owner).values())

    with context.deadline_of(0), pytest.raises(ProblemError, match="deadline_exceeded"):
        does()

    assert reader.news() == set()
    assert list(Image.objects.of(owner).values()) == before
    assert Owner.objects.get(pk=owner).closed_at is None
    does()
    assert reader.news() == {owner}
