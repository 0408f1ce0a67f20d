"""The three ways in which a call to another role can fail. The HTTP library's own errors never leave the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from internal.problems import Problem


class ServiceError(Exception):
    """A call to `service` ("auth" or "images") did not succeed."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service


class Unavailable(ServiceError):
    """No answer: refused, too slow, cut off, or the service said itself that it cannot. Trying later may help."""

    def __init__(self, service: str, reason: str, *, retry_after: int = 5, sent: bool = False) -> None:
        super().__init__(service, reason)
        self.retry_after = retry_after  # seconds
        self.sent = sent  # whether the call may have reached the service, and been carried out, all the same


class InvalidReply(ServiceError):
    """An answer that is not of the contract: somebody else listens there, or the two roles are of unlike releases."""


class Rejected(ServiceError):
    """The service understood and said no; `problem` says why, in words for the person who asked."""

    def __init__(self, service: str, problem: Problem) -> None:
        super().__init__(service, problem.code)
        self.problem = problem
