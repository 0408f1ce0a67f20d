"""How `status`, `stop`, `start` and `restart` talk to the running `up`: one JSON line each way over a Unix socket.

The socket lies in the state folder, which may be deeper than the 108 bytes that a socket's address can hold (unix(7)):
the address goes through a descriptor of the folder instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from ops.errors import OperatorError
from ops.layout import State

_NAME = "control.sock"
_LINE_LIMIT = 1024 * 1024

Request = dict[str, Any]
Reply = dict[str, Any]
"""Has `error`, a sentence for the person, when the request failed."""


class NotRunning(OperatorError):
    """No `up` of this state folder is running."""

    def __init__(self) -> None:
        super().__init__("Nothing is running. Start it with: make up")


class Refused(OperatorError):
    """The running `up` cannot do what was asked. The message says why."""


def ask(state: State, request: Request, *, seconds: float) -> Reply:
    """Send one request and wait at most `seconds` for the reply. Raises NotRunning, Refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        try:
            with _address(state) as address:
                connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(_LINE_LIMIT)
        except TimeoutError as error:
            raise Refused(f"The running `up` did not answer within {seconds:.0f} s.") from error
        except PermissionError as error:
            raise Refused(f"{state.root} belongs to another user: ask as that user.") from error
        except OSError as error:
            raise NotRunning from error
    if not line:
        raise NotRunning
    reply: Reply = json.loads(line)
    if "error" in reply:
        raise Refused(reply["error"])
    return reply


async def serve(state: State, answer: Callable[[Request], Awaitable[Reply]]) -> asyncio.Server:
    """Listen for requests and have `answer` reply to each. A Refused becomes the error of the reply."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = json.loads(await reader.readline())
            try:
                reply = await answer(request)
            except Refused as refusal:
                reply = {"error": str(refusal)}
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            pass  # the other side went away, or is not ours
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    (state.run / _NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _address(state) as address:
        listener.bind(address)
    (state.run / _NAME).chmod(0o600)
    return await asyncio.start_unix_server(converse, sock=listener, limit=_LINE_LIMIT)


def remove(state: State) -> None:
    """Take the socket away, so that nobody waits at it. One that cannot be removed answers nobody either."""
    with contextlib.suppress(OSError):
        (state.run / _NAME).unlink()


@contextlib.contextmanager
def _address(state: State) -> Iterator[str]:
    path = str(state.run / _NAME)
    if len(os.fsencode(path)) < 100:
        yield path
        return
    folder = os.open(state.run, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{_NAME}"
    finally:
        os.close(folder)
