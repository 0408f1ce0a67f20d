"""One HTTP connection pool to another role, with everything that a call between roles must have.

A deadline that holds against the clock (a body that drips does not outlive it), the request id, a token or a
signature, a metric for each outcome, one retry where repeating is safe, and a circuit breaker.
"""

from __future__ import annotations

import hashlib
import io
import json
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from internal import context, metrics, problems, signing
from internal.breaker import CircuitBreaker
from internal.context import Deadline
from internal.errors import InvalidReply, Rejected, Unavailable
from internal.keys import NamedKey
from internal.sockets import DeadlineSocket, held_to

CONNECT_TIMEOUT = 0.25  # seconds
IDLE_SECONDS = 30.0  # a connection that idled longer is not used again; servers keep theirs for 75 s
REPLY_LIMIT = 2 * 1024 * 1024  # bytes of one answer
CLIENT_ADDRESS_HEADER = "X-Client-Address"  # where the person is, as the gateway saw it; for the record only
DEADLINE_HEADER = "X-Deadline-Ms"

# Codes under 500 and above that are an answer to the person who asked, and not a failure of the service.
_ANSWERS = frozenset({"storage_full", "storage_unavailable"})


class _NotAsked(Exception):
    """The service was not asked at all, so that nothing is known of it: the breaker does not hear of this."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome  # as the metric names it


class _DeadlineConnection(HTTPConnection):
    last_used = 0.0

    def _new_conn(self) -> socket.socket:
        return DeadlineSocket(fileno=super()._new_conn().detach())


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _DeadlineConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = cast(_DeadlineConnection, super()._get_conn(timeout))
        now = time.monotonic()
        if now - connection.last_used > IDLE_SECONDS:
            connection.close()
        connection.last_used = now
        return connection


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
        self.breaker = CircuitBreaker()
        self._keys = keys
        parts = urlsplit(base_url)
        assert parts.hostname is not None
        self._pool = _Pool(parts.hostname, parts.port, maxsize=pool_size, block=False)

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

        GET is repeated once if the connection fails, inside the deadline; nothing else is repeated.

        Args:
            operation: what the caller wants, as metrics name it.
            token: an access token to send along; or
            signed: whether to sign the call with a service key.
            payload: sent as JSON; or
            body: sent as it is.

        Raises:
            Unavailable: no answer inside the deadline, or the service said that it cannot.
            Rejected: the service said no.
            InvalidReply: the answer is not of the contract.
        """
        deadline = context.current_deadline()
        content: bytes | Body = body or (b"" if payload is None else json.dumps(payload).encode())
        target = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "X-Request-ID": context.request_id()}
        if address := context.client_address():
            headers[CLIENT_ADDRESS_HEADER] = address
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if payload is not None:
            headers["Content-Type"] = "application/json"
        if body is not None:
            headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(body.size)}
        digest = _digest(content) if signed else ""
        started = time.monotonic()
        outcome = "unavailable"
        try:
            reply = self._attempt(method, target, headers, content, deadline, digest if signed else None)
            outcome = "ok"
            return reply
        except _NotAsked as error:
            outcome = error.outcome
            raise Unavailable(self.dependency, str(error)) from None
        except Rejected:
            outcome = "rejected"
            raise
        except InvalidReply:
            outcome = "invalid_reply"
            raise
        finally:
            metrics.CALLS.labels(self.dependency, operation, outcome).inc()
            metrics.CALL_SECONDS.labels(self.dependency, operation).observe(time.monotonic() - started)
            metrics.CIRCUIT_STATE.labels(self.dependency).set(self.breaker.state)

    def _attempt(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        content: bytes | Body,
        deadline: Deadline,
        digest: str | None,
    ) -> Reply:
        """The exchange, repeated once where that is safe; the breaker hears of each one that was really made."""
        for last in (False, True) if method == "GET" else (True,):
            if deadline.remaining() <= 0:
                raise _NotAsked("deadline_exceeded", "no time was left to ask it")
            if not self.breaker.allows():
                raise _NotAsked("circuit_open", "it failed repeatedly and is not asked just now")
            if digest is not None:
                headers |= signing.sign(self._keys, method=method, path=target, body_digest=digest)
            try:
                reply = self._exchange(method, target, headers, content, deadline)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                self.breaker.failed()
                if last or deadline.remaining() <= 0:
                    sent = not isinstance(error, NewConnectionError | ConnectTimeoutError)
                    raise Unavailable(self.dependency, type(error).__name__, sent=sent) from error
            except BaseException:
                self.breaker.failed()
                raise
            else:
                self._settle(reply)
                return reply
        raise AssertionError("the last attempt returns or raises")

    def _exchange(
        self, method: str, target: str, headers: dict[str, str], content: bytes | Body, deadline: Deadline
    ) -> Reply:
        remaining = max(0.001, deadline.remaining())
        if isinstance(content, Body):
            content.file.seek(0)
        response = None
        try:
            with held_to(deadline):
                response = self._pool.urlopen(
                    method,
                    target,
                    body=content.file if isinstance(content, Body) else content,
                    headers=headers | {DEADLINE_HEADER: str(max(1, int(remaining * 1000)))},
                    retries=False,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, remaining), read=remaining),
                )
                data = b""
                while chunk := response.read(64 * 1024):  # to its end: only there a truncated body is found out
                    data += chunk
                    if len(data) > REPLY_LIMIT:
                        raise InvalidReply(self.dependency, f"the answer has more than {REPLY_LIMIT} bytes")
                response.release_conn()
        except BaseException:
            if response is not None:
                response.close()
            raise
        if response.status == 204 and not data:
            return Reply(204, None)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind not in {"application/json", problems.CONTENT_TYPE}:
            raise InvalidReply(self.dependency, f"status {response.status} of type {kind or 'unknown'!r}")
        try:
            wait = response.headers.get("Retry-After", "")
            return Reply(response.status, json.loads(data), int(wait) if wait.isdecimal() else None)
        except (ValueError, RecursionError):
            raise InvalidReply(self.dependency, f"status {response.status} with a body that is not JSON") from None

    def _settle(self, reply: Reply) -> None:
        """Tells the breaker how it went, and raises what an answer other than 2xx stands for."""
        if 200 <= reply.status < 300:
            self.breaker.succeeded()
            return
        problem = _problem_in(reply)
        if reply.status >= 500 and (problem is None or problem.code not in _ANSWERS):
            # A fault of its own in answering this call says nothing about the next one: whoever can cause it with some
            # input must not be able to keep everybody else from the service.
            if problem is not None and problem.code == "internal_error":
                self.breaker.succeeded()
            else:
                self.breaker.failed()
            wait = problem.retry_after if problem and problem.retry_after else problems.RETRY_AFTER
            raise Unavailable(self.dependency, f"it answered {reply.status}", retry_after=wait)
        self.breaker.succeeded()
        if problem is None or problem.code == "invalid_signature":
            raise InvalidReply(self.dependency, f"status {reply.status} without a problem that is known")
        raise Rejected(self.dependency, problem)


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
