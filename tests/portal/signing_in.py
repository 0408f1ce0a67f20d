"""A browser's sign-in as its cookies hold it, read and changed behind the browser's back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart

from internal.contracts import TokenGrant
from portal import sessions
from portal.sessions import AccountSnapshot, SignIn

COOKIE = "seawall-sign-in"


def sign_in_of(client: Client) -> SignIn | None:
    """Who is signed in at this browser."""
    return sessions.load(_request_of(client))


def account_of(client: Client) -> AccountSnapshot:
    """Whose sign-in it is, and what the portal shows of them."""
    signed_in = sign_in_of(client)
    assert signed_in
    return signed_in.account


def age(client: Client, *, seconds_left: int) -> None:
    """Changes the cookie to one whose access token has that long to live."""
    request, response = _request_of(client), HttpResponse()
    signed_in = sessions.load(request)
    assert signed_in
    grant = TokenGrant(signed_in.access_token, signed_in.refresh_token, "Bearer", seconds_left, 30 * 86400)
    sessions.start(request, grant, signed_in.account)
    sessions.write_cookie(request, response)
    client.cookies[COOKIE] = response.cookies[COOKIE].value


def other_tab(client: Client) -> Client:
    """The same browser at another page: it has the cookies that the browser has now."""
    tab = Client(headers={"user-agent": client.defaults["HTTP_USER_AGENT"]})
    for name, cookie in client.cookies.items():
        tab.cookies[name] = cookie.value
    return tab


def post_slowly(
    client: Client, path: str, file: SimpleUploadedFile, meanwhile: Callable[[], object], **how: Any
) -> Any:
    """Posts a file whose body arrives only after `meanwhile` has happened, in another request of the browser."""
    body = encode_multipart(BOUNDARY, {"image": file})
    late = _LateBody(body, meanwhile)
    return client.generic("POST", path, body, content_type=MULTIPART_CONTENT, **how, **{"wsgi.input": late})


class _LateBody(BytesIO):
    def __init__(self, body: bytes, meanwhile: Callable[[], object]) -> None:
        super().__init__(body)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def read(self, size: int | None = -1, /) -> bytes:
        if self._meanwhile:
            thread = threading.Thread(target=self._meanwhile)
            self._meanwhile = None
            thread.start()
            thread.join()
        return super().read(size)


def _request_of(client: Client) -> HttpRequest:
    request = RequestFactory().get("/")
    request.COOKIES = {name: cookie.value for name, cookie in client.cookies.items()}
    request.session = client.session
    return request
