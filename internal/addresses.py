"""The client's address, as far as it can be trusted."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address from which a request came.

    X-Forwarded-For is believed for as many entries, counted from its end, as there are proxies of our own in front
    (TRUSTED_PROXY_COUNT); what a client wrote before them changes nothing.
    """
    chain = [request.META.get("REMOTE_ADDR", "")]
    if settings.TRUSTED_PROXY_COUNT:
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        chain = [*(part.strip() for part in forwarded.split(",") if part.strip()), *chain]
    candidate = chain[max(0, len(chain) - 1 - settings.TRUSTED_PROXY_COUNT)]
    # A peer without an address (a unix socket) has this one, which is none to bind to.
    return normal(candidate) or normal(chain[-1]) or "0.0.0.0"  # noqa: S104


LONGEST: Final = 64  # characters of an address, a zone included


def normal(text: str) -> str:
    """The address in its usual spelling; empty if it is none."""
    return _normal(text) if len(text) <= LONGEST else ""


@lru_cache(maxsize=4096)
def _normal(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
