"""What is kept is given again only while nothing has changed, and while that is known."""

from __future__ import annotations

import os
import time
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from internal.contracts import Changes
from internal.errors import Unavailable
from internal.following import POSITION_SECONDS, Follower
from internal.marks import DEPENDENCIES, LEASE_SECONDS, SLOTS, Board, changing

ACCOUNT, OTHER = UUID(int=1), UUID(int=2)


@pytest.fixture
def board() -> Board:
    return Board()


def relied_on(board: Board) -> bool:
    for dependency in DEPENDENCIES:
        board.rely_until(dependency, time.monotonic() + 60)
    return board.relied_on()


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_a_change_alters_the_marks_of_that_account_only(board: Board, dependency: str) -> None:
    before, others = board.marks(ACCOUNT), board.marks(OTHER)

    board.changed(ACCOUNT, dependency)

    assert board.marks(ACCOUNT) != before
    assert board.marks(OTHER) == others


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_everything_can_have_changed(board: Board, dependency: str) -> None:
    before, others = board.marks(ACCOUNT), board.marks(OTHER)

    board.everything_changed(dependency)

    assert board.marks(ACCOUNT) != before
    assert board.marks(OTHER) != others


def test_marks_are_never_again_what_they_were(board: Board) -> None:
    seen = set()
    for _ in range(1000):
        board.changed(ACCOUNT, "auth")
        seen.add(board.marks(ACCOUNT))

    assert len(seen) == 1000


def test_accounts_that_share_a_mark_change_together(board: Board) -> None:
    sharing = UUID(int=ACCOUNT.int + SLOTS)
    before = board.marks(sharing)

    board.changed(ACCOUNT, "images")

    assert board.marks(sharing) != before


def test_nothing_is_relied_on_until_both_were_heard_of(board: Board) -> None:
    assert not board.relied_on()

    for dependency in DEPENDENCIES:
        assert not board.relied_on()
        board.rely_until(dependency, time.monotonic() + 60)

    assert board.relied_on()


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_what_is_past_is_not_relied_on(board: Board, dependency: str) -> None:
    assert relied_on(board)

    board.rely_until(dependency, time.monotonic())

    assert not board.relied_on()


def test_a_change_that_failed_may_have_been_made(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("internal.marks.board", board)
    before = board.marks(ACCOUNT)

    with pytest.raises(Unavailable), changing(ACCOUNT, "auth"):
        raise Unavailable("auth", "no answer", sent=True)

    assert board.marks(ACCOUNT) != before


def test_processes_share_the_board(board: Board) -> None:
    before = board.marks(ACCOUNT)

    child = os.fork()
    if child == 0:
        board.changed(ACCOUNT, "auth")
        os._exit(0)
    os.waitpid(child, 0)

    assert board.marks(ACCOUNT) != before


class Role:
    """A role that tells its changes, or fails."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.answers: list[Changes | Exception] = []

    def __call__(self, after: str | None) -> Changes:
        self.asked.append(after)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def changes(position: str, *accounts: UUID, epoch: str = "e1", everything: bool = False) -> Changes:
    return Changes(epoch=epoch, position=position, accounts=accounts, all=everything)


@pytest.fixture
def role() -> Role:
    return Role()


@pytest.fixture
def follower(role: Role, board: Board) -> Follower:
    board.rely_until("images", time.monotonic() + 3600)
    return Follower("auth", role, board)


def test_a_follower_starts_with_everything_and_goes_on_from_where_it_was(
    role: Role, follower: Follower, board: Board
) -> None:
    start = board.marks(ACCOUNT)
    role.answers = [changes("10", everything=True), changes("11"), changes("12", ACCOUNT)]

    assert follower.look()
    begun = board.marks(ACCOUNT)
    assert begun != start
    assert board.relied_on()
    assert follower.look()
    assert board.marks(ACCOUNT) == begun
    others = board.marks(OTHER)
    assert follower.look()

    assert board.marks(ACCOUNT) != begun
    assert board.marks(OTHER) == others
    assert role.asked == [None, "10", "11"]


def test_positions_of_another_epoch_mean_that_everything_changed(role: Role, follower: Follower, board: Board) -> None:
    role.answers = [changes("10", everything=True), changes("11", epoch="e2")]
    follower.look()
    before = board.marks(OTHER)

    follower.look()

    assert board.marks(OTHER) != before


@pytest.mark.parametrize("fault", [Unavailable("auth", "refused"), RuntimeError("a defect")])
def test_who_is_not_answered_is_not_relied_on_for_long_and_goes_on_afterwards(
    role: Role, follower: Follower, board: Board, fault: Exception
) -> None:
    role.answers = [changes("10", everything=True), fault, changes("11")]
    follower.look()
    kept = board.marks(ACCOUNT)

    assert not follower.look()
    until = time.monotonic() + LEASE_SECONDS + 5
    while board.relied_on():
        assert time.monotonic() < until
    assert follower.look()

    assert board.relied_on()
    assert board.marks(ACCOUNT) == kept  # nothing had changed meanwhile
    assert role.asked[-1] == "10"


@pytest.mark.parametrize("fault", [Unavailable("auth", "refused"), RuntimeError("a defect")])
def test_the_gauge_says_when_nothing_is_followed(role: Role, follower: Follower, fault: Exception) -> None:
    role.answers = [changes("10", everything=True), fault]

    for follows in (1, 0):
        follower.look()
        assert REGISTRY.get_sample_value("gateway_follows_changes", {"dependency": "auth"}) == follows


def test_the_lease_counts_from_before_the_question(role: Role, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board.rely_until("images", now + 3600)

    def slow(after: str | None) -> Changes:
        nonlocal now
        now += 0.5
        return changes("10", everything=True)

    Follower("auth", slow, board).look()

    now = 1000 + LEASE_SECONDS - 0.01
    assert board.relied_on()
    now = 1000 + LEASE_SECONDS
    assert not board.relied_on()


def test_who_was_away_for_long_starts_afresh(role: Role, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    role.answers = [changes("10", everything=True), changes("500", everything=True)]
    follower.look()

    later = time.monotonic() + POSITION_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    follower.look()

    assert role.asked == [None, None]
