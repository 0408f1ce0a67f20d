"""Whose turn it is, across threads and across processes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from images import turns
from internal import context
from internal.problems import ProblemError

PATIENCE = 20.0  # seconds


class Neighbour:
    """Another process of the role, that takes a turn when it is told to and holds it until it is told, or killed."""

    def __init__(self, *, alone: bool) -> None:
        self._said, say = os.pipe()
        listen, self._tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            with contextlib.suppress(BaseException):
                os.close(self._tell)
                with (
                    context.deadline_of(PATIENCE),
                    turns.in_process(),
                    turns.in_role(alone=alone, seconds=0),
                ):
                    os.write(say, b"x")
                    os.read(listen, 1)
            os._exit(0)
        os.close(say)
        os.close(listen)

    def has_its_turn(self, seconds: float = PATIENCE) -> bool:
        """Whether it says so in that time."""
        os.set_blocking(self._said, False)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                return os.read(self._said, 1) == b"x"
            time.sleep(0.005)
        return False

    def kill(self) -> None:
        """Ends it, as the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0

    def end(self) -> None:
        """Lets it give its turn back."""
        os.write(self._tell, b"x")
        os.waitpid(self.pid, 0)
        self.pid = 0

    def close(self) -> None:
        """Leaves nothing of it."""
        if self.pid:
            self.kill()
        os.close(self._tell)
        os.close(self._said)


@pytest.fixture
def neighbour() -> Iterator[Callable[..., Neighbour]]:
    with contextlib.ExitStack() as stack:

        def start(*, alone: bool) -> Neighbour:
            process = Neighbour(alone=alone)
            stack.callback(process.close)
            return process

        yield start


def code_of_refusal(*, alone: bool, seconds: float = 0, deadline: float = 0.1) -> str:
    """The code with which a turn is refused; empty when it is had."""
    try:
        with context.deadline_of(deadline), turns.in_process(), turns.in_role(alone=alone, seconds=seconds):
            return ""
    except ProblemError as error:
        return error.problem.code


def test_small_pictures_are_worked_on_in_all_processes_at_once(neighbour: Callable[..., Neighbour]) -> None:
    assert neighbour(alone=False).has_its_turn()
    assert neighbour(alone=False).has_its_turn()

    assert code_of_refusal(alone=False) == ""


def test_a_large_picture_is_worked_on_alone(neighbour: Callable[..., Neighbour]) -> None:
    other = neighbour(alone=True)
    assert other.has_its_turn()

    assert code_of_refusal(alone=False) == "busy"
    assert code_of_refusal(alone=True) == "busy"
    other.end()
    assert code_of_refusal(alone=True) == ""


def test_a_large_picture_waits_for_the_small_ones_under_way_and_no_other_overtakes_it(
    neighbour: Callable[..., Neighbour],
) -> None:
    small = neighbour(alone=False)
    assert small.has_its_turn()
    large = neighbour(alone=True)
    assert not large.has_its_turn(0.2)

    assert code_of_refusal(alone=False) == "busy"
    small.end()
    assert large.has_its_turn()


def test_a_process_that_is_killed_gives_its_turn_back(neighbour: Callable[..., Neighbour]) -> None:
    other = neighbour(alone=True)
    assert other.has_its_turn()

    other.kill()

    assert code_of_refusal(alone=True) == ""


def test_a_process_that_is_killed_while_it_waits_holds_nobody_up(neighbour: Callable[..., Neighbour]) -> None:
    small, large = neighbour(alone=False), None
    assert small.has_its_turn()
    large = neighbour(alone=True)
    assert not large.has_its_turn(0.2)

    large.kill()

    assert code_of_refusal(alone=False, deadline=5) == ""


def test_work_that_does_not_fit_into_the_time_left_is_not_begun() -> None:
    assert code_of_refusal(alone=True, seconds=2, deadline=1) == "busy"
    assert code_of_refusal(alone=True, seconds=1, deadline=5) == ""


def test_threads_of_a_process_take_turns() -> None:
    inside: list[int] = []
    most = 0

    def work() -> None:
        nonlocal most
        with context.deadline_of(PATIENCE), turns.in_process(), turns.in_role(alone=False, seconds=0):
            inside.append(1)
            most = max(most, len(inside))
            time.sleep(0.002)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1
