"""Follows what changes at auth and images, so that the marks of a pod (internal.marks) can be relied on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from internal import clients, context, metrics
from internal.contracts import Changes
from internal.errors import ServiceError
from internal.marks import LEASE_SECONDS, Board, board

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2  # between two questions
POLL_TIMEOUT = 0.6  # seconds for one of them
POSITION_SECONDS = 60.0  # who has not been answered for so long starts afresh: the other side forgets in time, too


class Follower:
    """Follows the changes of one role.

    Args:
        dependency: the role.
        ask: its changes since a position.
        board: what is to know of them.
    """

    def __init__(self, dependency: str, ask: Callable[[str | None], Changes], board: Board) -> None:
        self._dependency = dependency
        self._ask = ask
        self._board = board
        self._epoch = ""
        self._position: str | None = None
        self._answered_at = float("-inf")
        self._follows = False

    def run(self) -> None:
        """Follows them for ever."""
        while True:
            began = time.monotonic()
            self.look()
            time.sleep(max(0.0, began + POLL_SECONDS - time.monotonic()))

    def look(self) -> bool:
        """Asks once; whether it was answered."""
        began = time.monotonic()
        if began - self._answered_at > POSITION_SECONDS:
            self._position = None
        try:
            with context.deadline_of(POLL_TIMEOUT):
                changes = self._ask(self._position)
        except ServiceError as error:
            self._say(follows=False, reason=str(error))
            return False
        except Exception as error:
            log.exception("changes_question_failed", dependency=self._dependency)
            self._say(follows=False, reason=type(error).__name__)
            return False
        if changes.all or changes.epoch != self._epoch:
            self._board.everything_changed(self._dependency)
        for account in changes.accounts:
            self._board.changed(account, self._dependency)
        self._epoch, self._position, self._answered_at = changes.epoch, changes.position, began
        self._board.rely_until(self._dependency, began + LEASE_SECONDS)
        self._say(follows=True)
        return True

    def _say(self, *, follows: bool, reason: str | None = None) -> None:
        metrics.FOLLOWS_CHANGES.labels(self._dependency).set(follows)
        if follows is not self._follows:
            log.info("changes_followed" if follows else "changes_not_followed", dependency=self._dependency, why=reason)
        self._follows = follows


def watch() -> None:
    """Follows the changes of auth and images for ever, each in a thread of its own; runs in the management process."""
    followers = [
        Follower("auth", clients.auth_client().changes, board),
        Follower("images", clients.images_client().changes, board),
    ]
    for follower in followers[1:]:
        threading.Thread(target=follower.run, name="changes", daemon=True).start()
    followers[0].run()
