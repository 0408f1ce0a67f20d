"""A request is made whatever its Content-Type claims."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from django.http import UnreadablePostError
from django.test import RequestFactory

from internal import problems, requests
from internal.requests import Request


@pytest.mark.parametrize("charset", ["base64", "rot13", "hex", "utf-16", "no-such-charset", "\x00"])
def test_a_charset_that_is_none_for_text_does_not_keep_a_request_from_being_read(charset: str) -> None:
    environ = RequestFactory().get("/?name=%C3%A9").environ | {"CONTENT_TYPE": f"text/plain; charset={charset}"}
    request = Request(environ)
    assert request.GET["name"] == "é"
    assert request.content_type == "text/plain"


@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1", "rot13"])
def test_a_form_is_read_as_utf_8_whatever_charset_it_claims(charset: str) -> None:
    form = f"application/x-www-form-urlencoded; charset={charset}"
    environ = RequestFactory().generic("POST", "/", b"name=Zo%C3%AB&note=%2BADw-", form).environ
    assert Request(environ).POST.dict() == {"name": "Zoë", "note": "+ADw-"}


@pytest.mark.parametrize("dribbles", [False, True], ids=["silent", "dribbling"])
def test_a_body_that_does_not_arrive_ends_the_wait(monkeypatch: pytest.MonkeyPatch, dribbles: bool) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(requests, "BODY_RATE", 10**12)
    monkeypatch.setattr(requests, "BODY_PAUSE", 5.0 if dribbles else 0.3)
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs), closing(ours.makefile("rb", buffering=0)) as source:
        theirs.sendall(b"four")
        length = {"CONTENT_LENGTH": "1000000000", "gunicorn.socket": ours, "wsgi.input": source}
        request = Request(RequestFactory().post("/").environ | length)
        assert request.read(4) == b"four"
        problem = None
        while problem is None:
            if dribbles:
                theirs.sendall(b"x")
            try:
                request.read(1)
            except UnreadablePostError as error:
                problem = problems.problem_of(error)
    assert (problem.status, problem.code) == (408, "request_timeout")
