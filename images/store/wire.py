"""The HTTP below boto3: held to a deadline, repeated once, and not asked at all while the store does not answer."""

from __future__ import annotations

import random
import ssl
import time
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
    AWSResponse,
)
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from internal.breaker import CircuitBreaker
from internal.context import Deadline, current_deadline
from internal.sockets import DeadlineSocket, DeadlineTLSSocket, held_to

CONNECT_SECONDS = 1.0
STALL_SECONDS = 4.0  # without a byte in either direction, after which an attempt is given up
BREAKER_FAILURES = 3
PAUSE_SECONDS = 0.2  # at most, before the second attempt
_FAILED = frozenset({500, 502, 503, 504})  # of the store itself, and worth asking again


class NotAsked(HTTPClientError):  # type: ignore[misc]
    """The store was not asked: it failed repeatedly just now, or no time was left."""

    fmt = "{reason}"


class Redirected(HTTPClientError):  # type: ignore[misc]
    """The store sends us to another place. We do not go: a signed request is for nobody else."""

    fmt = "{reason}"


class _Connection(AWSHTTPConnection):  # type: ignore[misc]
    def _new_conn(self) -> Any:
        return DeadlineSocket(fileno=super()._new_conn().detach())


class _Pool(AWSHTTPConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection


class _TLSPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = AWSHTTPSConnection  # its context makes the sockets


class _Session(URLLib3Session):  # type: ignore[misc]
    def __init__(self, *, connections: int, verify: bool | str) -> None:
        super().__init__(verify=verify, timeout=(CONNECT_SECONDS, STALL_SECONDS), max_pool_connections=connections)
        self._pool_classes_by_scheme.update(http=_Pool, https=_TLSPool)

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()
        context.sslsocket_class = DeadlineTLSSocket
        return context


class Wire:
    """Sends what boto3 has prepared and signed: its `before-send` event asks here first.

    Every request may be repeated: a name is written once, and with the same content.
    """

    def __init__(self, *, connections: int, verify: bool | str = True) -> None:
        self.breaker = CircuitBreaker(failures=BREAKER_FAILURES)
        self._session = _Session(connections=connections, verify=verify)

    def send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        """Makes one request, or two if the first one fails.

        Raises:
            HTTPClientError: no answer in time; NotAsked, a kind of it, if there was no request; Redirected, another.
        """
        deadline = current_deadline()
        for last in (False, True):
            if deadline.remaining() <= 0:
                raise NotAsked(reason="no time was left")
            if not self.breaker.allows():
                raise NotAsked(reason="it failed repeatedly and is not asked just now")
            try:
                with held_to(deadline, stall=STALL_SECONDS):
                    response = self._session.send(request)
                    if response.status_code >= 300:
                        _ = response.content  # what is wrong is read here, where it is held to the deadline
            except BaseException as error:
                self.breaker.failed()
                if last or not isinstance(error, HTTPClientError) or not _pause(deadline):
                    raise
            else:
                if response.status_code not in _FAILED:
                    self.breaker.succeeded()
                    if 300 <= response.status_code < 400:
                        raise Redirected(reason=f"redirect ({response.status_code})")
                    return response
                self.breaker.failed()
                if last or not _pause(deadline):
                    return response
                response.raw.close()
            request.reset_stream()
        raise AssertionError("the last attempt returns or raises")


def _pause(deadline: Deadline) -> bool:
    """Waits a moment, so that not everybody asks again at once; False if there is no time for another attempt."""
    seconds = random.uniform(PAUSE_SECONDS / 4, PAUSE_SECONDS)  # noqa: S311 - nobody guards a secret with it
    if deadline.remaining() <= seconds:
        return False
    time.sleep(seconds)
    return True
