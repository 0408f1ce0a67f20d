"""The origin of stored bytes: what `files` answers, answered by Django, with the same headers and the same ETag.

`files` serves from the volume without asking; this is for caches in front of a store that they cannot reach.
"""

from __future__ import annotations

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.http import http_date

from images import store
from images.decoding import KINDS
from internal.problems import ProblemError, problem_response

_CONTENT_TYPES = {kind.extension: kind.content_type for kind in KINDS.values()}
_IMAGE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def serve(request: HttpRequest, name: str) -> HttpResponseBase:
    """The bytes stored under `/uploads/<name>`; 404 for every name that the store does not give out."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD", "Cache-Control": "no-store"})
    if not store.NAME.fullmatch(name):
        return _not_found()
    try:
        with store.failures_named():
            found = store.find(f"{store.FOLDER}/{name}")
    except ProblemError as error:
        return problem_response(request, error.problem)
    if found is None:
        return _not_found()
    file, modified = found
    size = file.size
    # The form that nginx gives it: an answer from a cache and one from here are the same to a browser.
    headers = _IMAGE_HEADERS | {
        "ETag": f'"{int(modified.timestamp()):x}-{size:x}"',
        "Last-Modified": http_date(modified.timestamp()),
    }
    if _matches(request.headers.get("If-None-Match", ""), headers["ETag"]):
        file.close()
        return HttpResponseNotModified(headers=headers)
    content_type = _CONTENT_TYPES[name.rpartition(".")[2]]
    return FileResponse(file, content_type=content_type, headers=headers | {"Content-Length": str(size)})


def _matches(condition: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in condition.split(",")}
    return etag in tags or "*" in tags


def _not_found() -> HttpResponse:
    return HttpResponse(status=404, headers={"Cache-Control": "no-store"})
