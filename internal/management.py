"""The management port: /livez, /readyz and /metrics, answered by a process of its own beside the workers.

It is forked from gunicorn's master, so it costs little memory, and it answers while every worker is busy. Liveness
depends on nothing outside: the process ends with its master, and a role without it is not alive. Readiness needs one
worker that serves, no shutdown under way, and the READINESS_CHECKS of the settings.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog
from django.conf import settings
from django.utils.module_loading import import_string
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from internal import metrics, multiprocess

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 1.0  # between two rounds of checks
_PR_SET_PDEATHSIG = 1
_SLOTS = 128
_DRAINING = _SLOTS  # the byte after the workers' own

# One byte for each worker number (1: it serves), and one that says that a shutdown has begun. Shared by all processes.
_board = mmap.mmap(-1, _SLOTS + 1)
_process_id: int | None = None


def worker_started(number: int) -> None:
    """A worker has loaded the application and serves."""
    if number < _SLOTS:
        _board[number] = 1


def worker_ended(number: int) -> None:
    """A worker has ended."""
    if number < _SLOTS:
        _board[number] = 0


def draining() -> bool:
    """Whether the role has been told to end: it still serves, and every answer is the last one of its connection."""
    return bool(_board[_DRAINING])


def start(server: Any, *, bind: str, shutdown_delay: int, expected_workers: int) -> None:
    """Opens the port, forks the process that answers on it, and makes SIGTERM fail readiness first.

    Args:
        server: gunicorn's arbiter, which must have loaded the application.
        bind: host:port.
        shutdown_delay: seconds between the failing readiness and the end of the first worker, for load balancers.
        expected_workers: how many workers there should be, for the log.
    """
    global _process_id
    host, _, port = bind.rpartition(":")
    listener = socket.create_server((host.strip("[]"), int(port)), backlog=128, reuse_port=False)
    master = os.getpid()
    _process_id = os.fork()
    if _process_id == 0:
        status = 1
        try:
            for other in server.LISTENERS:  # or the application port would stay open when nobody serves there any more
                other.close()
            _serve(listener, master)
            status = 0
        except BaseException:
            log.exception("management_port_failed")
        finally:
            os._exit(status)
    listener.close()
    server.log.info("Management port at %s, for %d workers", bind, expected_workers)
    _fail_readiness_first(server, shutdown_delay)


def stop() -> None:
    """Ends the process; called when all workers have ended."""
    if _process_id is not None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(_process_id, signal.SIGTERM)
            os.waitpid(_process_id, 0)


def _fail_readiness_first(server: Any, delay: int) -> None:
    """Between a SIGTERM and gunicorn's own handling of it, readiness fails and `delay` seconds pass."""

    master = os.getpid()

    def begin(number: int, frame: Any) -> None:
        if os.getpid() != master:  # a worker that has just been forked: no handler of its own yet, and no request
            os._exit(0)
        if delay and draining():
            return  # the delay runs already: whoever asks again must not put the end off
        _board[_DRAINING] = 1
        if delay:
            signal.setitimer(signal.ITIMER_REAL, delay)
        else:
            server.signal(number, frame)

    def go_on(number: int, frame: Any) -> None:
        server.signal(signal.SIGTERM, frame)

    signal.signal(signal.SIGTERM, begin)
    signal.signal(signal.SIGALRM, go_on)


class _Readiness:
    """What the checks said last. They run in a thread, so that nobody who asks has to wait for them."""

    def __init__(self) -> None:
        self._checks = {name: import_string(name) for name in settings.READINESS_CHECKS}
        self._faults: dict[str, str] = dict.fromkeys(self._checks, "not checked yet")

    def watch(self) -> None:
        while True:
            for name, check in self._checks.items():
                try:
                    check()
                    fault = ""
                except Exception as error:  # noqa: BLE001 - whatever a check raises says that it failed
                    fault = type(error).__name__
                if fault != self._faults[name]:
                    log.info("readiness_check_changed", check=name, fault=fault or None)
                self._faults[name] = fault
            time.sleep(_CHECK_SECONDS)

    def faults(self) -> list[str]:
        """Why the role is not ready; empty when it is."""
        faults = [f"{name}: {fault}" for name, fault in self._faults.items() if fault]
        if not any(_board[number] for number in range(_SLOTS)):
            faults.append("no worker serves")
        if draining():
            faults.append("shutting down")
        return faults


def _serve(listener: socket.socket, master: int) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != master:
        return
    multiprocess.identify("management")
    role = settings.SETTINGS_MODULE.rpartition(".")[2]
    metrics.BUILD.labels(role, settings.VERSION, settings.COMMIT).set(1)
    readiness = _Readiness()
    threading.Thread(target=readiness.watch, name="readiness", daemon=True).start()
    for name in getattr(settings, "BACKGROUND_WATCHES", []):
        threading.Thread(target=import_string(name), name=name, daemon=True).start()
    handler = type("Handler", (_Handler,), {"readiness": readiness, "role": role})
    server = _Server(listener.getsockname(), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever(poll_interval=0.5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs a fault of ours; a client that goes away is nothing to log."""
        fault = sys.exc_info()
        if not isinstance(fault[1], ConnectionError | TimeoutError):
            log.error("management_request_failed", exc_info=fault)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for a request to arrive
    disable_nagle_algorithm = True  # or a client that keeps its connection gets the body 40 ms after the head
    readiness: _Readiness
    role: str

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/livez":
                release = {"version": settings.VERSION, "commit": settings.COMMIT}
                self._answer_json(200, {"status": "alive", "role": self.role, **release})
            case "/readyz":
                faults = self.readiness.faults()
                status = "not ready" if faults else "ready"
                self._answer_json(503 if faults else 200, {"status": status, "faults": faults})
            case "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(multiprocess.registry()))
            case _:
                self._answer_json(404, {"status": "not found"})

    do_HEAD = do_GET  # noqa: N815 - named by http.server

    def version_string(self) -> str:
        return "seawall"

    def _answer_json(self, status: int, document: dict[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(document).encode() + b"\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by http.server
        """Nothing: probes come every few seconds."""
