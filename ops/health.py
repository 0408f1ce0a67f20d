"""Asking a role how it is: one small HTTP request with a hard deadline."""

from __future__ import annotations

import asyncio
import contextlib

from ops.layout import HOST


async def answers_ok(port: int, path: str, seconds: float) -> bool:
    """Whether GET `path` on a loopback port answers 200 within `seconds`, connecting included. Never raises."""
    try:
        async with asyncio.timeout(seconds):
            return await _status(port, path) == 200
    except (OSError, ValueError, IndexError, TimeoutError):
        return False


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
