"""Memory that processes share: real processes, and readers that never see half of anything."""

from __future__ import annotations

import multiprocessing
import time

import pytest

from internal.sharing import SharedDocument

PATIENCE = 30.0  # seconds


FORK = multiprocessing.get_context("fork")


def test_nothing_is_read_before_anything_is_written() -> None:
    assert SharedDocument().read() == b""


def test_the_last_document_is_read_whole() -> None:
    board = SharedDocument(100)

    for document in (b"one", b"two, which is longer", b"", b"four"):
        board.write(document)
        assert board.read() == document


def test_a_document_that_is_too_long_leaves_the_one_before() -> None:
    board = SharedDocument(4)
    board.write(b"four")

    with pytest.raises(ValueError, match="5 bytes are too many: there is room for 4"):
        board.write(b"fives")

    assert board.read() == b"four"


def test_another_process_sees_what_one_writes() -> None:
    board = SharedDocument()

    child = FORK.Process(target=board.write, args=(b"from the child",))
    child.start()
    child.join(PATIENCE)

    assert board.read() == b"from the child"


def test_a_reader_never_sees_half_of_a_document() -> None:
    """A process writes as fast as it can, documents of all lengths, each of one letter."""
    board = SharedDocument(20_000)
    board.write(b"a")

    def write() -> None:
        for number in range(10_000_000):
            board.write(bytes([97 + number % 26]) * (number * 7919 % 20_000 + 1))

    writer = FORK.Process(target=write)
    writer.start()
    try:
        seen: set[bytes] = set()
        lengths: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        for _ in range(20_000):
            document = board.read()
            letters = set(document)
            assert len(letters) == 1, f"{len(document)} bytes with {letters}"
            seen.add(document[:1])
            lengths.add(len(document))
        while len(seen) < 26:
            assert time.monotonic() < deadline, f"the writer was seen at work only {len(seen)} times"
            seen.add(board.read()[:1])
        assert len(lengths) > 26
    finally:
        writer.kill()
        writer.join()


def test_a_writer_that_ends_in_the_middle_leaves_the_document_before() -> None:
    board = SharedDocument(64)
    board.write(b"whole")
    torn = b"t" * 64
    begin = board._half(2)
    board._memory[begin + 16 : begin + 16 + 30] = torn[:30]  # as far as the writer came

    assert board.read() == b"whole"

    board._memory[:8] = (2).to_bytes(8, "little")  # and even if it had said that it was through
    assert board.read() == b""
    board.write(b"the next one")
    assert board.read() == b"the next one"
