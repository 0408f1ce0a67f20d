"""The avatar on top of every page follows what is changed elsewhere, and costs nothing while nothing changes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from django.test import Client

from internal.marks import Board
from portal import avatars
from tests.portal.fakes import FakeAuth, FakeImages, stored_image
from tests.portal.signing_in import account_of, age


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """Of a gateway that hears what changes."""
    board = Board()
    monkeypatch.setattr(avatars, "board", board)
    avatars._kept.clear()
    rely(board, 60)
    yield board
    avatars._kept.clear()


def rely(board: Board, seconds: float) -> None:
    for dependency in ("auth", "images"):
        board.rely_until(dependency, time.monotonic() + seconds)


def shown(browser: Client) -> str | None:
    """The path of the avatar on a page that asks auth only."""
    page = browser.get("/sessions")
    assert page.status_code == 200
    found = re.search(r'class="avatar avatar--small" src="http://files.test:8003([^"]+)"', page.content.decode())
    return found[1] if found else None


def changed_elsewhere(auth: FakeAuth, images: FakeImages, board: Board) -> str:
    """Another device chooses an image."""
    image = stored_image(7, is_profile_image=True)
    images.items = [image]
    board.changed(auth.person.id, "images")
    return image.avatar_path


def test_it_is_the_one_that_another_device_has_just_chosen(
    anna: Client, auth: FakeAuth, images: FakeImages, board: Board
) -> None:
    assert shown(anna) is None

    path = changed_elsewhere(auth, images, board)

    assert shown(anna) == path
    assert account_of(anna).avatar_path == path
    images.items = []
    board.changed(auth.person.id, "images")
    assert shown(anna) is None


def test_nobody_is_asked_while_nothing_changes(anna: Client, auth: FakeAuth, images: FakeImages, board: Board) -> None:
    path = changed_elsewhere(auth, images, board)
    assert shown(anna) == path
    asked = len(images.called("profile_image"))

    assert [shown(anna) for _ in range(3)] == [path] * 3

    assert len(images.called("profile_image")) == asked


def test_a_page_is_there_with_the_last_one_while_images_does_not_answer(
    anna: Client, auth: FakeAuth, images: FakeImages, board: Board
) -> None:
    path = changed_elsewhere(auth, images, board)
    assert shown(anna) == path
    images.items = []
    board.changed(auth.person.id, "images")
    images.is_down()
    assert shown(anna) == path


@pytest.mark.parametrize("reason", ["nothing is heard", "the token has expired"])
def test_images_is_not_asked_where_nothing_could_be_known(
    anna: Client, auth: FakeAuth, images: FakeImages, board: Board, reason: str
) -> None:
    path = changed_elsewhere(auth, images, board)
    assert shown(anna) == path
    asked = len(images.called("profile_image"))
    changed_elsewhere(auth, images, board)
    if reason == "nothing is heard":
        rely(board, -1)
    else:
        auth.is_down()
        age(anna, seconds_left=-1)

    page = anna.get("/password")

    assert path in page.content.decode()
    assert len(images.called("profile_image")) == asked
