"""One role's WSGI application in this process, request after request, with a clock around every step.

Run as `python -m benchmarks.gateway.steps_inside` in the role's environment, with PROMETHEUS_MULTIPROC_DIR naming a
folder of its own. Reads one JSON object: `path`, `tokens`, `headers`, `requests`. Prints one: `steps` by name in µs
(medians), `whole` (median of whole requests, µs, first without any clock inside), `cpu` (ms a request, all threads),
`overhead` of a step in µs. The services behind the role are those of the running system.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.utils.module_loading import import_string

from benchmarks.gateway.stopwatch import Stopwatch, TimedLog, time_middleware

Application = Callable[[dict[str, Any], Callable[..., Any]], Any]

# What is timed, and as what. A name that this process has not loaded is passed over: roles differ.
STEPS = {
    "django.core.handlers.wsgi.WSGIHandler.__call__": "WSGI: environ, signals, answer",
    "internal.requests.Request.__init__": "request object",
    "django.core.handlers.base.BaseHandler._get_response": "Django: dispatch",
    "django.core.handlers.base.BaseHandler.resolve_request": "routing",
    "api.answers.KeptAnswers.get": "kept answer: found, still holds",
    "api.answers.KeptAnswer.given_to": "kept answer: given",
    "rest_framework.views.APIView.dispatch": "REST framework: dispatch",
    "rest_framework.views.APIView.initialize_request": "REST framework: request",
    "rest_framework.views.APIView.initial": "REST framework: negotiation, permissions",
    "rest_framework.views.APIView.finalize_response": "REST framework: finalize",
    "rest_framework.serializers.Serializer.data": "serializer",
    "api.serializers.Output.shown": "serializer",
    "rest_framework.response.Response.rendered_content": "JSON of the answer",
    "internal.tokens.verify": "token: signature and claims",
    "internal.tokens.verified": "token: signature and claims",
    "internal.sockets.DeadlineSocket.recv_into": "waiting for the role asked",
    "internal.sockets.DeadlineSocket.sendall": "sending to the role asked",
    "internal.contracts.Account.from_json": "contracts",
    "internal.contracts.StoredImage.from_json": "contracts",
    "internal.contracts.ImagePage.from_json": "contracts",
    "internal.workflows.load_profile": "two calls at once",
    "concurrent.futures.Future.result": "waiting for the other call",
    "api.views.accounts.ProfileView.get": "view",
    "api.views.images.ImagesView.get": "view",
    "auth.views.AccountDetail.get": "view",
    "images.views.ProfileImageView.get": "view",
    "images.views.ImagesView.get": "view",
    "auth.authentication.LiveSessionAuthentication.authenticate": "record found: ORM",
    "images.library.profile_image": "record found: ORM",
    "images.library.list_images": "record found: ORM",
    "django.db.models.sql.compiler.SQLCompiler.as_sql": "record found: SQL composed",
    "django.db.backends.utils.CursorWrapper.execute": "PostgreSQL: statement, there and back",
    "django.db.backends.base.base.BaseDatabaseWrapper.connect": "database: connection from the pool",
    "django.db.backends.postgresql.base.DatabaseWrapper.is_usable": "database: connection checked",
    "django.db.backends.base.base.BaseDatabaseWrapper.close": "database: connection back",
}
FOLLOWER = "internal.following.watch"  # of BACKGROUND_WATCHES: without it no answer is kept
FOLLOWED = 10.0  # seconds for it to begin


def _call(transport: Any, *_: Any, **__: Any) -> str:
    return f"call to {transport.dependency}: around it"


def _exchange(transport: Any, *_: Any, **__: Any) -> str:
    return f"call to {transport.dependency}: urllib3"


def main() -> None:
    """Measures one kind of request."""
    task = json.load(sys.stdin)
    random.seed(1)
    bare = "BARE_ANSWERS" in os.environ
    plain = _application(bare)
    people = [_environ(task["path"], token, task["headers"]) for token in task["tokens"]]
    requests = random.choices(people, k=task["requests"])  # noqa: S311 - an order, no secret
    for environ in people:
        _ask(plain, environ)
    cpu, whole = time.process_time(), [_ask(plain, environ) for environ in requests]
    cpu = (time.process_time() - cpu) / len(requests)
    found: dict[str, Any] = {"whole": statistics.median(whole) / 1000, "cpu": cpu * 1000}
    if not bare:
        stopwatch = Stopwatch()
        timed = _timed_application(stopwatch)
        found["overhead"] = stopwatch.overhead()
        for environ in people:
            _ask(timed, environ)
        stopwatch.clear()
        clocked = []
        for environ in requests:
            clocked.append(_ask(timed, environ))
            stopwatch.finish()
        found |= {"steps": stopwatch.medians(), "clocked": statistics.median(clocked) / 1000}
    print(json.dumps(found))


def _application(bare: bool) -> Application:
    if bare:
        from benchmarks.gateway.bare import application as bare_application

        return bare_application
    from internal import multiprocess

    multiprocess.start(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))  # as config/gunicorn.conf.py does
    from config.wsgi import application

    _follow()
    loaded: Application = application
    return loaded


def _follow() -> None:
    """Follows changes in a process beside this one, as the gateway's management process does."""
    from django.conf import settings

    if FOLLOWER not in getattr(settings, "BACKGROUND_WATCHES", ()):
        return
    board = import_string("internal.marks.board")
    multiprocessing.get_context("fork").Process(target=import_string(FOLLOWER), daemon=True).start()
    deadline = time.monotonic() + FOLLOWED
    while not board.relied_on():
        if time.monotonic() > deadline:
            raise RuntimeError("the changes of auth and images are not followed")
        time.sleep(0.05)


def _timed_application(stopwatch: Stopwatch) -> Application:
    from django.core.handlers.wsgi import WSGIHandler

    from internal import middleware
    from internal.requests import Request

    for dotted, name in STEPS.items():
        stopwatch.replace(name, dotted)
    stopwatch.replace(_call, "internal.transport.Transport.call")
    stopwatch.replace(_exchange, "internal.transport.Transport._exchange")
    middleware.log = TimedLog(stopwatch, middleware.log)
    time_middleware(stopwatch)
    handler = WSGIHandler()
    handler.request_class = Request
    return handler


def _environ(path: str, token: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """What gunicorn would hand on."""
    fields = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path.partition("?")[0],
        "RAW_URI": path,
        "QUERY_STRING": path.partition("?")[2],
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        **fields,
    }


def _ask(application: Application, environ: dict[str, Any]) -> int:
    """One request from end to end, as a server would take it; ns. Raises RuntimeError for another status than 200."""
    statuses: list[str] = []
    environ = environ | {"wsgi.input": io.BytesIO()}
    began = time.perf_counter_ns()
    answer = application(environ, lambda status, headers, exc_info=None: statuses.append(status))
    b"".join(answer)
    answer.close()
    spent = time.perf_counter_ns() - began
    if not statuses[0].startswith("200"):
        raise RuntimeError(f"{environ['PATH_INFO']} was answered with {statuses[0]}")
    return spent


if __name__ == "__main__":
    main()
