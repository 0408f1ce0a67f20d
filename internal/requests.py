"""The request class of every role."""

from __future__ import annotations

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters


class Request(WSGIRequest):
    """A request whose text is UTF-8, whatever charset its Content-Type claims.

    Django decodes with the codec that the client names; Python has codecs that are none for text, and with these the
    request could not even be made. JSON and forms are UTF-8 by their standards (RFC 8259, WHATWG HTML).
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
