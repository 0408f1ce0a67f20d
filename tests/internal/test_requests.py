"""A request is made whatever its Content-Type claims."""

from __future__ import annotations

import pytest
from django.test import RequestFactory

from internal.requests import Request


@pytest.mark.parametrize("charset", ["base64", "rot13", "hex", "utf-16", "no-such-charset", "\x00"])
def test_a_charset_that_is_none_for_text_does_not_keep_a_request_from_being_read(charset: str) -> None:
    environ = RequestFactory().get("/?name=%C3%A9").environ | {"CONTENT_TYPE": f"text/plain; charset={charset}"}
    request = Request(environ)
    assert request.GET["name"] == "é"
    assert request.content_type == "text/plain"
