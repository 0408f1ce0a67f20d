"""A crowd that signs in at the same moment, each person from an address of their own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

GIVE_UP = 15.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What one of the crowd got, and after how many seconds."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def code(self) -> str:
        """The code of a problem document; empty for a success."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True)
class SignIn:
    """One attempt: credentials, and the loopback address that it comes from."""

    email: str
    password: str
    address: str
    headers: tuple[tuple[str, str], ...] = ()


def address(number: int) -> str:
    """The loopback address of the person of that number."""
    return f"127.0.{110 + number // 250}.{number % 250 + 1}"


def sign_in_all(gateway: str, attempts: Sequence[SignIn]) -> list[Answer]:
    """Opens a connection for each attempt, then sends all of them at once; the answers are in the same order."""
    return asyncio.run(_sign_in_all(gateway, attempts))


async def _sign_in_all(gateway: str, attempts: Sequence[SignIn]) -> list[Answer]:
    start = asyncio.Event()
    ready = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_sign_in(gateway, attempt, ready, start)) for attempt in attempts]
    for _ in attempts:
        await ready.acquire()
    start.set()
    return await asyncio.gather(*tasks)


async def _sign_in(gateway: str, attempt: SignIn, ready: asyncio.Semaphore, start: asyncio.Event) -> Answer:
    target = urlsplit(gateway)
    body = json.dumps({"email": attempt.email, "password": attempt.password}).encode()
    fields = {
        "Host": target.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **dict(attempt.headers),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"POST /api/v1/login HTTP/1.1\r\n{head}\r\n".encode() + body
    reader, writer = await asyncio.open_connection(
        target.hostname, target.port, local_addr=(attempt.address, 0), limit=1024 * 1024
    )
    ready.release()
    await start.wait()
    began = time.monotonic()
    writer.write(request)
    received = await asyncio.wait_for(reader.read(), GIVE_UP)
    seconds = time.monotonic() - began
    writer.close()
    return _read(received, seconds)


def _read(received: bytes, seconds: float) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.title(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    assert len(body) == int(headers["Content-Length"]), "the answer is cut short"
    return Answer(int(lines[0].split()[1]), headers, json.loads(body), seconds)
