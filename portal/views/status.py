"""What works at this moment: a page for anybody, which asks nobody and is there in any outage."""

from __future__ import annotations

import time
from functools import lru_cache

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from portal import errors
from portal.outages import Outlook, outlook
from portal.pictures import public_url

PROBE = "/uploads/probe.gif"
"""What `files` answers by itself (config/files): only a browser can tell whether images load there."""


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """The page; a document for whoever wants JSON. 200 whatever is the matter: it is about that."""
    now = outlook()
    if errors.wants_json(request):
        return _never_stored(JsonResponse(now.to_json()))
    page = {"outlook": now, "board": _board(now, int(time.time())), "probe": public_url(PROBE)}
    return _never_stored(render(request, "portal/status.html", page))


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes, for its script."""
    return _never_stored(HttpResponse(_board(outlook(), int(time.time()))))


@lru_cache(maxsize=2)
def _board(now: Outlook, second: int) -> SafeString:
    """Made once a second, however many people look on."""
    return render_to_string("portal/parts/status_board.html", {"outlook": now, "probe": public_url(PROBE)})


def _never_stored(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response
