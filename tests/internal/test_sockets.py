"""The server's end of a connection: an answer's head and its body go out together."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from internal.sockets import ClientSocket, Together

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """An end of the server's and the client's, which receives as much at a time as was sent at a time."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ClientSocket(ours, seconds=10, rate=1024)) as connection, theirs:
        theirs.settimeout(10)
        yield connection, theirs


def test_a_head_waits_for_the_first_bytes_of_its_body_and_for_no_more(
    pair: tuple[ClientSocket, socket.socket],
) -> None:
    answer = Together(pair[0])
    answer.sendall(HEAD)
    answer.sendall(b"abc")
    answer.sendall(b"def")
    assert [pair[1].recv(4096) for _ in range(2)] == [HEAD + b"abc", b"def"]


def test_a_head_without_a_body_goes_out_with_its_end(pair: tuple[ClientSocket, socket.socket]) -> None:
    answer = Together(pair[0])
    answer.sendall(HEAD)
    answer.sendall(b"")
    assert pair[1].recv(4096) == HEAD


def test_a_head_goes_out_before_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"..abcdef")
    ours, theirs = socket.socketpair()
    with closing(ClientSocket(ours, seconds=10, rate=1024)) as connection, theirs, path.open("rb") as file:
        answer = Together(connection)
        answer.sendall(HEAD)
        assert answer.sendfile(file, 2, 6) == 6
        connection.shutdown(socket.SHUT_WR)
        theirs.settimeout(10)
        assert theirs.makefile("rb").read() == HEAD + b"abcdef"
