"""Calls to another role, with everything that a call between roles must have.

A deadline that holds against the clock (a body that drips does not outlive it), the request id, a token or a
signature, a metric for each outcome, one retry where repeating is safe and the budget has one left, a circuit breaker,
and bulkheads: a role that hangs holds a part of the threads and no more.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urlsplit
from weakref import ref

from django.conf import settings

from internal import context, metrics, problems, signing, turns
from internal.breaker import CircuitBreaker, State
from internal.budget import RetryBudget
from internal.bulkhead import Bulkhead, Full
from internal.connections import Connections, NotConnected
from internal.context import Deadline
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.keys import NamedKey
from internal.sockets import held_to

REPLY_LIMIT = 2 * 1024 * 1024  # bytes of one answer
CLIENT_ADDRESS_HEADER = "X-Client-Address"  # where the person is, as the gateway saw it; for the record only
DEADLINE_HEADER = "X-Deadline-Ms"
REQUEST_ID_HEADER = "X-Request-ID"

THREADS = 16  # of a process, where the settings do not say
BUSY_RETRY_AFTER = 2  # seconds
QUIET_SECONDS = 1.0  # without an answer, before failures in a row open the circuit
FAIR_SECONDS = 0.5  # a call that had less time and did not get an answer says nothing about the service

# Of the threads of a process: how many may be in calls to one role, and how many may wait for a place. Uploads take
# seconds, so they have places of their own. What is left goes on when a role hangs: signing in, while images does. Then
# nobody waits for a call, so that images has 8 + 4 + 2 of 16 threads, uploads included. While it is quick, all may.
_CALLS = {"auth": 10 / 16, "images": 8 / 16}
_CALLS_WAITING, _CALLS_PATIENCE = 8 / 16, 0.25  # seconds
_CALLS_HANG_AFTER = 0.5  # seconds
_UPLOADS = 4 / 16
_UPLOADS_WAITING, _UPLOADS_PATIENCE = 2 / 16, 1.0  # seconds

# Codes under 500 and above that are an answer to the person who asked, and not a failure of the service.
_ANSWERS = frozenset({"storage_full", "storage_unavailable"})

_breakers: list[tuple[str, ref[CircuitBreaker]]] = []  # of this process, with their dependency


class _NotAsked(Exception):
    """The service was not asked at all, so that nothing is known of it: the breaker does not hear of this."""

    def __init__(self, outcome: str, reason: str, retry_after: int = problems.RETRY_AFTER) -> None:
        super().__init__(reason)
        self.outcome = outcome  # as the metric names it
        self.retry_after = retry_after  # seconds


class _Broken(Exception):
    """An exchange came to no whole answer.

    Attributes:
        is_sent: the request may have been carried out.
        is_late: time was over.
    """

    def __init__(self, reason: str, *, is_sent: bool, is_late: bool) -> None:
        super().__init__(reason)
        self.is_sent = is_sent
        self.is_late = is_late


class _Odd(Exception):
    """An answer that is none of a role of ours; by its status it may be about this one request alone."""

    def __init__(self, reason: str, *, is_about_the_request: bool = False) -> None:
        super().__init__(reason)
        self.is_about_the_request = is_about_the_request


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status and its JSON, None where it has no body."""

    status: int
    json: Any
    retry_after: int | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Body:
    """A request body that is a file: readable, seekable, `size` bytes long from its beginning."""

    file: BinaryIO
    size: int

    def digest(self) -> str:
        """SHA-256 of the content, hexadecimal."""
        self.file.seek(0)
        return hashlib.file_digest(cast(io.BytesIO, self.file), "sha256").hexdigest()


class Transport:
    """Calls to one role.

    Args:
        dependency: "auth" or "images", as it appears in metrics and errors.
        base_url: http://host:port of the role.
        keys: keys for signed calls, the one that signs first.
        pool_size: connections that are kept open, in this process.
    """

    def __init__(self, dependency: str, base_url: str, keys: Sequence[NamedKey] = (), *, pool_size: int = 16) -> None:
        self.dependency = dependency
        self.breaker = CircuitBreaker(quiet_seconds=QUIET_SECONDS)
        _breakers.append((dependency, ref(self.breaker)))
        self._keys = keys
        parts = urlsplit(base_url)
        assert parts.hostname is not None
        self._connections = Connections(parts.hostname, parts.port or 80, size=pool_size)
        self._budget = RetryBudget()
        threads = getattr(settings, "THREADS", THREADS)
        self._calls = Bulkhead(
            max(1, int(threads * _CALLS[dependency])),
            waiting=int(threads * _CALLS_WAITING),
            patience=_CALLS_PATIENCE,
            hangs_after=_CALLS_HANG_AFTER,
        )
        self._uploads = Bulkhead(
            max(1, int(threads * _UPLOADS)), waiting=int(threads * _UPLOADS_WAITING), patience=_UPLOADS_PATIENCE
        )

    def call(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        token: str | None = None,
        signed: bool = False,
        payload: Mapping[str, Any] | None = None,
        body: Body | None = None,
        query: Mapping[str, str | int] | None = None,
    ) -> Reply:
        """Makes one call and returns its answer of 2xx.

        What found no connection is repeated once, and so is GET if the budget for repetitions has one left, inside the
        deadline; nothing else is repeated.

        Args:
            operation: what the caller wants, as metrics name it.
            token: an access token to send along; or
            signed: whether to sign the call with a service key.
            payload: sent as JSON; or
            body: sent as it is.

        Raises:
            Unavailable: no answer inside the deadline, the service said that it cannot, or it was not asked.
            Rejected: the service said no.
            InvalidReply: the answer is not of the contract.
        """
        deadline = context.current_deadline()
        content: bytes | Body = body or (b"" if payload is None else json.dumps(payload).encode())
        target = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", REQUEST_ID_HEADER: context.request_id()}
        if address := context.client_address():
            headers[CLIENT_ADDRESS_HEADER] = address
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if body is not None:
            headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(body.size)}
        started = time.monotonic()
        outcome = "unavailable"
        try:
            reply = self._within_bounds(method, target, headers, content, deadline, signed)
            outcome = "ok"
            return reply
        except _NotAsked as error:
            outcome = error.outcome
            raise Unavailable(self.dependency, str(error), retry_after=error.retry_after) from None
        except Rejected:
            outcome = "rejected"
            raise
        except InvalidReply:
            outcome = "invalid_reply"
            raise
        finally:
            metrics.CALLS.labels(self.dependency, operation, outcome).inc()
            metrics.CALL_SECONDS.labels(self.dependency, operation).observe(time.monotonic() - started)
            metrics.CIRCUIT_STATE.labels(self.dependency).set(_worst_state(self.dependency))

    def _within_bounds(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        content: bytes | Body,
        deadline: Deadline,
        signed: bool,
    ) -> Reply:
        """The call, if it may be made: time is left, the circuit lets it through, and there is a place for it."""
        if self.breaker.refuses():
            raise _circuit_open()
        bulkhead = self._uploads if isinstance(content, Body) else self._calls
        digest = _digest(content) if signed else None
        try:
            with bulkhead.place(deadline.remaining()) as place:
                reply = self._attempt(method, target, headers, content, deadline, digest)
                place.answered = True
        except Full:
            raise _NotAsked("busy", "too many calls to it are under way", BUSY_RETRY_AFTER) from None
        self._settle(reply)
        return reply

    def _attempt(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        content: bytes | Body,
        deadline: Deadline,
        digest: str | None,
    ) -> Reply:
        """The exchange, repeated once where that is safe; the breaker hears of each one that failed."""
        for last in (False, True):
            given = deadline.remaining()
            if given <= 0:
                raise _NotAsked("deadline_exceeded", "no time was left to ask it")
            if not self.breaker.allows():
                raise _circuit_open()
            if not last:
                self._budget.earn()
            if digest is not None:
                headers |= signing.sign(self._keys, method=method, path=target, body_digest=digest)
            try:
                return self._exchange(method, target, headers, content, deadline)
            except _Broken as error:
                if not error.is_late or given >= FAIR_SECONDS:
                    self.breaker.failed()
                # What found no connection has cost the service nothing, so the budget is not for it: a pod that goes
                # takes all the calls that were led to it at that moment, and each of them finds another one.
                is_possible = not last and deadline.remaining() > 0
                if not is_possible or (error.is_sent and not (method == "GET" and self._budget.spend())):
                    raise Unavailable(self.dependency, str(error), sent=error.is_sent) from error
                if error.is_sent:
                    metrics.REPEATED.labels(self.dependency).inc()
            except _Odd as error:
                # The server itself refuses a request that it finds too long, in a form of its own. A person who can
                # cause that must not be able to keep everybody else from the service.
                if error.is_about_the_request:
                    self.breaker.succeeded()
                else:
                    self.breaker.failed()
                raise InvalidReply(self.dependency, str(error)) from error
        raise AssertionError("the last attempt returns or raises")

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], content: bytes | Body, deadline: Deadline
    ) -> Reply:
        """One request and its answer. The connection is kept only if nothing about the answer was odd.

        Raises:
            _Broken: there is no whole answer.
            _Odd: what came is no answer of a role of ours.
        """
        connection = self._connections.take()
        is_clean = False
        try:
            with held_to(deadline):
                if not connection.is_open:
                    with turns.waiting():
                        connection.open(deadline.remaining())
                remaining = str(max(1, int(deadline.remaining() * 1000)))
                with turns.waiting() if isinstance(content, Body) else nullcontext():
                    is_sent_whole = connection.send_call(
                        method, target, _source(content), headers | {DEADLINE_HEADER: remaining}
                    )
                with turns.waiting(), closing(connection.getresponse()) as response:
                    reply = _read(response, headers[REQUEST_ID_HEADER])
                is_clean = is_sent_whole and connection.ended_cleanly()
            return reply
        except (http.client.IncompleteRead, OSError) as error:
            raise _Broken(
                type(error).__name__,
                is_sent=not isinstance(error, NotConnected),
                is_late=isinstance(error, TimeoutError),
            ) from error
        except http.client.HTTPException as error:
            raise _Odd(f"it does not speak HTTP: {type(error).__name__}") from error
        finally:
            if is_clean:
                self._connections.give_back(connection)
            else:
                connection.close()

    def _settle(self, reply: Reply) -> None:
        """Tells the breaker how it went, and raises what an answer other than 2xx stands for."""
        if 200 <= reply.status < 300:
            self.breaker.succeeded()
            return
        problem = _problem_in(reply)
        if reply.status >= 500 and (problem is None or problem.code not in _ANSWERS):
            # A fault of its own in answering this call says nothing about the next one: whoever can cause it with some
            # input must not be able to keep everybody else from the service.
            # And one that has too much to do would have nothing at all if nobody asked it.
            if problem is not None and problem.code in {"internal_error", "busy"}:
                self.breaker.succeeded()
            else:
                self.breaker.failed()
            wait = problem.retry_after if problem and problem.retry_after else problems.RETRY_AFTER
            raise Unavailable(self.dependency, f"it answered {reply.status}", retry_after=wait, sent=_is_open(problem))
        self.breaker.succeeded()
        if problem is None or problem.code == "invalid_signature":
            raise InvalidReply(self.dependency, f"status {reply.status} without a problem that is known")
        raise Rejected(self.dependency, problem)


def _is_open(problem: problems.Problem | None) -> bool:
    """Whether a call may have been carried out that was answered with this, at 500 and above.

    What has no code may come from a proxy that has waited for the service. A database that did not answer a COMMIT is
    told without a time for the next attempt.
    """
    if problem is None or problem.code == "internal_error":
        return True
    return problem.code == "database_unavailable" and problem.retry_after is None


def _source(content: bytes | Body) -> Any:
    if isinstance(content, Body):
        content.file.seek(0)
        return content.file
    return content or None


def _whole(response: http.client.HTTPResponse) -> bytes:
    """The body, to its end: only there a truncated one is found out."""
    data = response.read(REPLY_LIMIT + 1)
    if len(data) > REPLY_LIMIT:
        raise _Odd(f"status {response.status} with more than {REPLY_LIMIT} bytes")
    if response.length:
        raise http.client.IncompleteRead(data, response.length)
    return data


def _read(response: http.client.HTTPResponse, request_id: str) -> Reply:
    """The answer, if it is one of a role of ours to this request."""
    status, headers = response.status, response.headers
    if oddity := _oddity_of(status, headers, request_id):
        raise _Odd(f"status {status} {oddity}", is_about_the_request=400 <= status < 500)
    data = _whole(response)
    if status == 204 and not data:
        return Reply(204, None)
    try:
        wait = headers.get("Retry-After", "")
        return Reply(status, json.loads(data), int(wait) if wait.isdecimal() else None)
    except (ValueError, RecursionError):
        reason = f"status {status} with a body that is not JSON"
        raise _Odd(reason, is_about_the_request=400 <= status < 500) from None


def _oddity_of(status: int, headers: http.client.HTTPMessage, request_id: str) -> str:
    """Why it is no answer to this request, as far as its head shows; empty if it may be one.

    Where a length can be understood in two ways (RFC 9112, 6.3), what is left behind may look like the next answer.
    Every role sends the request id back; what stands before a role may not.
    """
    lengths = headers.get_all("Content-Length", [])
    kind = headers.get("Content-Type", "").partition(";")[0].strip()
    if not (200 <= status < 300 or 400 <= status < 600):
        return "is none of the contract"
    if headers.defects:
        return "with headers that cannot be read"
    if len(lengths) > 1 or (lengths and (not lengths[0].strip().isdecimal() or "Transfer-Encoding" in headers)):
        return "with a length that is not clear"
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return "with an encoding that nobody asked for"
    if request_id and headers.get(REQUEST_ID_HEADER, request_id) != request_id:
        return "with the id of another request"
    if status != 204 and kind not in {"application/json", problems.CONTENT_TYPE}:
        return f"of type {kind or 'unknown'!r}"
    return ""


def _worst_state(dependency: str) -> State:
    breakers = (found() for name, found in _breakers if name == dependency)
    return max((breaker.state for breaker in breakers if breaker is not None), default=State.CLOSED)


def _circuit_open() -> _NotAsked:
    return _NotAsked("circuit_open", "it failed repeatedly and is not asked just now")


def _digest(content: bytes | Body) -> str:
    return content.digest() if isinstance(content, Body) else hashlib.sha256(content).hexdigest()


def _problem_in(reply: Reply) -> problems.Problem | None:
    document = reply.json
    if not isinstance(document, dict):
        return None
    code, faults = document.get("code"), document.get("errors", [])
    if not isinstance(code, str) or code not in problems.CATALOGUE or not isinstance(faults, list):
        return None
    errors = tuple(
        problems.FieldError(str(fault.get("field")), str(fault.get("code")), str(fault.get("message")))
        for fault in faults
        if isinstance(fault, dict)
    )
    problem = problems.Problem(code, str(document.get("detail", "")), errors, retry_after=reply.retry_after)
    return problem if problem.status == reply.status else None
