"""What belongs to the request at hand and travels with it: its id, where it comes from, whose it is, its deadline."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog

# Seconds. A call through the gateway answers within 3 s, one that carries an image within 15 s: the services have that
# time less what the gateway needs to say that they did not answer, on a machine that is busy, too.
REQUEST_DEADLINE = 2.6
UPLOAD_DEADLINE = 14.5

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_request_id: ContextVar[str] = ContextVar("request_id", default="")
_client_address: ContextVar[str] = ContextVar("client_address", default="")
_wait: ContextVar[float] = ContextVar("wait", default=0.0)
_deadline: ContextVar[Deadline | _Allowance | None] = ContextVar("deadline", default=None)
_upload_deadline: ContextVar[Deadline | None] = ContextVar("upload_deadline", default=None)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock (s) after which nobody waits for the answer any more."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.at - time.monotonic()


class _Allowance:
    """A deadline that begins when it is first asked for; several threads may work for one request.

    `spent` is for how many seconds services have been asked before that, or the request waited for a thread.
    """

    def __init__(self, seconds: float, spent: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._deadline: Deadline | None = None
        self.spent = spent

    def begun(self) -> Deadline:
        with self._lock:
            if self._deadline is None:
                self._deadline = self._next()
            return self._deadline

    def at_most(self, seconds: float) -> Deadline:
        """The deadline of a call, which does not begin the allowance."""
        with self._lock:
            return Deadline.after(min(seconds, (self._deadline or self._next()).remaining()))

    def spend(self, seconds: float) -> None:
        with self._lock:
            self.spent += seconds

    def _next(self) -> Deadline:
        return Deadline.after(self._seconds - self.spent)


def request_id() -> str:
    """The id of the request at hand; empty outside of one."""
    return _request_id.get()


def client_address() -> str:
    """The network address of the person behind the request at hand; empty outside of one, or if it is not known."""
    return _client_address.get()


def bind_client_address(address: str) -> None:
    """Says where the request at hand comes from, for the audit record and for the roles that it leads to."""
    _client_address.set(address)


def wait() -> float:
    """For how many seconds the request at hand waited for a thread, before anything of it was done."""
    return _wait.get()


def bind_wait(seconds: float) -> None:
    """Says for how long the next request of this thread has waited."""
    _wait.set(seconds)


def new_id() -> str:
    """The id of a request that brings none; made without giving up the interpreter's lock."""
    return f"{random.getrandbits(128):032x}"


def begin_request(supplied_id: str | None) -> str:
    """Starts a request: takes over the caller's id if it is well-formed, else makes one; returns it."""
    well_formed = supplied_id is not None and _REQUEST_ID.fullmatch(supplied_id)
    request_id = supplied_id if supplied_id and well_formed else new_id()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    _request_id.set(request_id)
    return request_id


def end_request() -> None:
    """Forgets the request, so that nothing of it reaches the next one on this thread."""
    structlog.contextvars.clear_contextvars()
    _request_id.set("")
    _client_address.set("")
    _wait.set(0.0)
    _deadline.set(None)


def bind_account(account_id: object) -> None:
    """Says whose request this is, for the log."""
    structlog.contextvars.bind_contextvars(account_id=str(account_id))


def current_deadline(otherwise: float = REQUEST_DEADLINE) -> Deadline:
    """The deadline of the request at hand; outside of one, `otherwise` seconds from now."""
    deadline = _deadline.get()
    if isinstance(deadline, _Allowance):
        return deadline.begun()
    return deadline or Deadline.after(otherwise)


@contextmanager
def allowance_of(seconds: float) -> Iterator[None]:
    """Gives the block a deadline that begins with the first call that needs it, less what `wait` says.

    For requests of people that have a body: one that arrives slowly, over a slow line, is not the services' fault.
    """
    mark = _deadline.set(_Allowance(seconds, wait()))
    try:
        yield
    finally:
        _deadline.reset(mark)


@contextmanager
def deadline_of(seconds: float) -> Iterator[Deadline]:
    """Gives the block its own deadline, `seconds` from now, in place of the one it stands in."""
    with _deadline_at(Deadline.after(seconds)) as deadline:
        yield deadline


@contextmanager
def within(seconds: float) -> Iterator[Deadline]:
    """Gives the block `seconds` of the deadline it stands in, or what is left of it. What it takes, others have less.

    For what has to be asked before the body of the request has arrived: the deadline does not begin with it.
    """
    enclosing = _deadline.get()
    if not isinstance(enclosing, _Allowance):
        left = seconds if enclosing is None else min(seconds, enclosing.remaining())
        with _deadline_at(Deadline.after(left)) as deadline:
            yield deadline
        return
    began = time.monotonic()
    try:
        with _deadline_at(enclosing.at_most(seconds)) as deadline:
            yield deadline
    finally:
        enclosing.spend(time.monotonic() - began)


@contextmanager
def upload_deadline() -> Iterator[Deadline]:
    """Gives the block the deadline for uploads, unless it stands in one that was given for an upload already.

    What the request has waited for a thread, and what was asked before its body had arrived, counts.
    """
    deadline = _upload_deadline.get()
    if deadline is not None:
        yield deadline
        return
    enclosing = _deadline.get()
    spent = enclosing.spent if isinstance(enclosing, _Allowance) else wait()
    with upload_deadline_of(UPLOAD_DEADLINE - spent) as deadline:
        yield deadline


@contextmanager
def upload_deadline_of(seconds: float) -> Iterator[Deadline]:
    """Gives every upload in the block one deadline, `seconds` from now."""
    with deadline_of(seconds) as deadline:
        mark = _upload_deadline.set(deadline)
        try:
            yield deadline
        finally:
            _upload_deadline.reset(mark)


@contextmanager
def _deadline_at(deadline: Deadline) -> Iterator[Deadline]:
    mark = _deadline.set(deadline)
    try:
        yield deadline
    finally:
        _deadline.reset(mark)
