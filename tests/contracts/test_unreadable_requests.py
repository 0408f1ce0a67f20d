"""What is no request of HTTP is refused by every role as a problem document, before any application is asked."""

from __future__ import annotations

import pytest

from tests.internal.serving import Client
from tests.running import log_of, port_of, until, url

DJANGO_ROLES = ("gateway", "auth", "images", "console")
SECRET = b"lantern-5521-harbour"

# What is sent, and the status and code of the answer.
UNREADABLE: dict[str, tuple[bytes, int, str]] = {
    "no request line": (b"%b\r\nHost: x\r\n\r\n" % SECRET, 400, "malformed_request"),
    "no request line, and no end": (b"%b\r\nHost: x\r\n" % SECRET, 400, "malformed_request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03%b\r\n" % SECRET, 400, "malformed_request"),
    "bad method": (b"G(T /%b HTTP/1.1\r\nHost: x\r\n\r\n" % SECRET, 400, "malformed_request"),
    "bad version": (b"GET /%b HTTP/7.1\r\nHost: x\r\n\r\n" % SECRET, 400, "malformed_request"),
    "bad name of a field": (b"GET / HTTP/1.1\r\nHost: x\r\nA (b): %b\r\n\r\n" % SECRET, 400, "malformed_request"),
    "folded field": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n %b\r\n\r\n" % SECRET, 400, "malformed_request"),
    "two lengths": (
        b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef" % SECRET,
        400,
        "malformed_request",
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_request",
    ),
    "bad length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -%b\r\n\r\n" % SECRET, 400, "malformed_request"),
    "unknown coding": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n",
        501,
        "unsupported_transfer_coding",
    ),
    "unknown expectation": (
        b"POST / HTTP/1.1\r\nHost: x\r\nExpect: %b\r\nContent-Length: 1\r\n\r\nx" % SECRET,
        417,
        "expectation_failed",
    ),
    "long address": (b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000), 414, "uri_too_long"),
    "long address without end": (b"GET /%b" % (b"a" * 20_000), 414, "uri_too_long"),
    "large field": (
        b"GET / HTTP/1.1\r\nHost: x\r\nA: %b\r\n\r\n" % (SECRET * 500),
        431,
        "header_fields_too_large",
    ),
    "many fields": (
        b"GET / HTTP/1.1\r\nHost: x\r\n%b\r\n" % (b"A: b\r\n" * 200),
        431,
        "header_fields_too_large",
    ),
    "large head without end": (
        b"GET / HTTP/1.1\r\nHost: x\r\n%b" % (b"A: b\r\n" * 20_000),
        431,
        "header_fields_too_large",
    ),
}


@pytest.mark.parametrize("role", DJANGO_ROLES)
@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_request_is_a_problem_with_an_id_that_the_log_knows(role: str, case: str) -> None:
    sent, status, code = UNREADABLE[case]
    with Client(port_of(url(role))) as client:
        client.send(sent)

        answer = client.reply()

        assert client.is_closed()
    request_id = answer.headers["x-request-id"]
    assert (answer.status, answer.json["code"], answer.json["status"]) == (status, code, status)
    assert answer.json["request_id"] == request_id
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["connection"] == "close"
    until(lambda: request_id in log_of(role).read_text(), f"a line about it in the log of {role}")
    assert SECRET not in answer.body
    assert SECRET.decode() not in log_of(role).read_text()


@pytest.mark.parametrize("role", DJANGO_ROLES)
def test_an_unreadable_request_keeps_the_id_that_it_came_with_where_that_can_be_read(role: str) -> None:
    with Client(port_of(url(role))) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-ID: asked-by-me-1\r\nExpect: a miracle\r\n\r\n")
        answer = client.reply()

    assert (answer.status, answer.headers["x-request-id"]) == (417, "asked-by-me-1")
