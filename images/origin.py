"""The origin of stored bytes, for caches in front of a store that they cannot reach (FILES_SOURCE=origin).

It answers as `files` does from a volume, with the same ETag, except for how long: a cache asks again after seconds, so
that a deleted image is soon gone, and goes on with what it has while nobody can answer. Browsers get the year that an
image is good for from `files`.
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
    "Cache-Control": "max-age=30, stale-while-revalidate=20, stale-if-error=86400",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


class _Streamed(FileResponse):
    block_size = 64 * 1024  # bytes that are in memory at once


def serve(request: HttpRequest, name: str) -> HttpResponseBase:
    """The bytes stored under `/uploads/<name>`; 404 for every name that the store does not give out."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponse(status=405, headers={"Allow": "GET, HEAD", "Cache-Control": "no-store"})
    if not store.NAME.fullmatch(name):
        return _not_found()
    try:
        with store.failures_named():
            return _answer(request, name) or _not_found()
    except ProblemError as error:
        return problem_response(request, error.problem)


def _answer(request: HttpRequest, name: str) -> HttpResponseBase | None:
    path = f"{store.FOLDER}/{name}"
    condition = request.headers.get("If-None-Match", "")
    if request.method == "HEAD" or condition:  # which need not open it
        known = store.look(path)
        if known is None:
            return None
        headers = _headers(name, known.size, known.modified.timestamp())
        if _matches(condition, headers["ETag"]):
            del headers["Content-Type"], headers["Content-Length"]
            return HttpResponseNotModified(headers=headers)
        if request.method == "HEAD":
            return HttpResponse(headers=headers)
    found = store.find(path)
    if found is None:
        return None
    file, modified = found
    headers = _headers(name, file.size, modified.timestamp())
    return _Streamed(file, content_type=headers.pop("Content-Type"), headers=headers)


def _headers(name: str, size: int, stored_at: float) -> dict[str, str]:
    """What is said of a file; the ETag in the form that nginx gives it: to a browser both are the same."""
    return _IMAGE_HEADERS | {
        "Content-Type": _CONTENT_TYPES[name.rpartition(".")[2]],
        "Content-Length": str(size),
        "ETag": f'"{int(stored_at):x}-{size:x}"',
        "Last-Modified": http_date(stored_at),
    }


def _matches(condition: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/") for tag in condition.split(",")}
    return etag in tags or "*" in tags


def _not_found() -> HttpResponse:
    # A cache keeps it in the place of an image that was deleted. What is not kept would leave the image there.
    return HttpResponse(status=404, headers={"Cache-Control": "max-age=5"})
