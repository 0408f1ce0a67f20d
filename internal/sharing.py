"""A few bytes that one process writes and the others of the same role read: memory that all of them share.

It is made when a module is loaded, in gunicorn's master, and every process that is forked later has the same.
"""

from __future__ import annotations

import mmap
import struct
import threading
import zlib

_COUNT = struct.Struct("<Q")  # writings so far; the last one is in the half of this number modulo two
_HEAD = struct.Struct("<QII")  # of a half: the number of its writing, its length in bytes, a checksum of both and of it
_ATTEMPTS = 1000


class SharedDocument:
    """The last document that was written, whole. One process writes, any number read; nobody waits for anybody.

    There are two halves, and a writing goes to the one that is not read. A reader that was so slow that its half was
    written again meanwhile knows it by the checksum, and reads the other one. A writer that ends in the middle leaves
    the document before.

    Args:
        capacity: bytes that a document may have.
    """

    def __init__(self, capacity: int = 4000) -> None:
        self._capacity = capacity
        self._size = _HEAD.size + capacity
        self._memory = mmap.mmap(-1, _COUNT.size + 2 * self._size)
        self._lock = threading.Lock()  # between threads of the writing process

    def write(self, document: bytes) -> None:
        """Puts the document in the place of the one before.

        Raises:
            ValueError: it is longer than the capacity.
        """
        if len(document) > self._capacity:
            raise ValueError(f"{len(document)} bytes are too many: there is room for {self._capacity}")
        with self._lock:
            number = self._count() + 1
            head = _HEAD.pack(number, len(document), _checksum(number, document))
            begin = self._half(number)
            self._memory[begin : begin + _HEAD.size + len(document)] = head + document
            self._memory[: _COUNT.size] = _COUNT.pack(number)

    def read(self) -> bytes:
        """The last document; nothing (b"") if none has been written."""
        for _ in range(_ATTEMPTS):
            number = self._count()
            if number == 0:
                return b""
            begin = self._half(number)
            half = self._memory[begin : begin + self._size]
            found, length, checksum = _HEAD.unpack_from(half)
            document = half[_HEAD.size : _HEAD.size + length]
            if found == number and checksum == _checksum(number, document):
                return document
        return b""

    def _count(self) -> int:
        number: int = _COUNT.unpack(self._memory[: _COUNT.size])[0]
        return number

    def _half(self, number: int) -> int:
        return _COUNT.size + number % 2 * self._size


def _checksum(number: int, document: bytes) -> int:
    return zlib.crc32(document, zlib.crc32(_COUNT.pack(number) + len(document).to_bytes(4, "little")))
