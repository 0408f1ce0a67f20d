"""Gunicorn, the same for every role: threads, an application port, and a management port that never waits for workers.

Reads BIND, MANAGEMENT_BIND, WORKERS, THREADS, GRACEFUL_TIMEOUT, SHUTDOWN_DELAY, LOG_FORMAT, LOG_LEVEL and
PROMETHEUS_MULTIPROC_DIR from the environment; the role is that of DJANGO_SETTINGS_MODULE.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils.module_loading import import_string
from environs import validate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from config.env import Environment, EnvironmentFault
from config.processes import THREADS
from internal import logs, management, multiprocess

_PORTS = {"gateway": 8000, "auth": 8001, "images": 8002, "console": 8004}
_role = os.environ.get("DJANGO_SETTINGS_MODULE", "").rpartition(".")[2]
if _role not in _PORTS:
    sys.exit(f"DJANGO_SETTINGS_MODULE must be config.settings.<role>, the role one of {', '.join(_PORTS)}")

_env = Environment()
bind = [_env.str("BIND", f"0.0.0.0:{_PORTS[_role]}")]
workers = _env.whole("WORKERS", "1" if _role == "console" else "2", at_least=1, at_most=64)
threads = _env.whole("THREADS", str(THREADS[_role]), at_least=2, at_most=128)
graceful_timeout = _env.whole("GRACEFUL_TIMEOUT", "20", at_least=1, at_most=600)
_management_bind = _env.str("MANAGEMENT_BIND", f"0.0.0.0:{_PORTS[_role] + 1000}")
_shutdown_delay = _env.whole("SHUTDOWN_DELAY", "0", at_least=0, at_most=120)
_metrics = _env.str("PROMETHEUS_MULTIPROC_DIR")
_logging = {
    "style": _env.str("LOG_FORMAT", "json", validate=validate.OneOf(["json", "console"])),
    "level": _env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])),
}
try:
    _env.seal()
except EnvironmentFault as fault:
    sys.exit(str(fault))

_metrics_folder = Path(_metrics)
logs.configure(_logging)
multiprocess.start(_metrics_folder)

# Large blocks (the memory of a password hash, the pixels of an image) go back to the system when they are freed: glibc
# would raise its threshold after the first one and keep what comes later.
_libc = ctypes.CDLL(None)
if hasattr(_libc, "mallopt"):
    _M_MMAP_THRESHOLD = -3
    _libc.mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)

_NICE = 2

wsgi_app = "config.wsgi"
proc_name = f"seawall-{_role}"
worker_class = "internal.queueing.Worker"
preload_app = True
keepalive = 100  # seconds: longer than any caller of ours or Traefik (90 s) keeps an idle connection
timeout = 30
_memory = Path("/dev/shm")  # noqa: S108 - heartbeats of workers, which must not wait for a disk
worker_tmp_dir = str(_memory) if os.access(_memory, os.W_OK | os.X_OK) else None
control_socket_disable = True
logger_class = logs.GunicornLogger
forwarded_allow_ips = ""  # addresses and schemes of proxies are judged by Django's settings alone
limit_request_line = 8190
limit_request_field_size = 8190


def when_ready(server: Any) -> None:
    """Starts the process that answers on the management port.

    Everything loaded so far is taken from the garbage collector first, so that the children go on sharing its memory.
    """
    gc.collect()
    gc.freeze()
    management.start(server, bind=_management_bind, shutdown_delay=_shutdown_delay, expected_workers=workers)


def pre_fork(server: Any, worker: Any) -> None:
    """Gives the worker a number, which its metric files carry: the next one of this number goes on with them."""
    taken = {other.number for other in server.WORKERS.values()}
    worker.number = next(number for number in range(len(taken) + 1) if number not in taken)


def post_fork(server: Any, worker: Any) -> None:
    """Lets the worker write metric files of its own, and the management port answer first when processors are short."""
    multiprocess.identify(f"worker{worker.number}")
    os.nice(_NICE)


def post_worker_init(worker: Any) -> None:
    """Does what the first request should not wait for, and tells the management port that this worker serves."""
    for name in getattr(settings, "WARM_UP", []):
        import_string(name)()
    management.worker_started(worker.number)


def worker_exit(server: Any, worker: Any) -> None:
    """Closes the pools of database connections, which nobody needs any more: the worker has given its last answer."""
    for connection in connections.all():
        for pool in list(getattr(connection, "_connection_pools", {}).values()):
            pool.close(timeout=1)


def child_exit(server: Any, worker: Any) -> None:
    """Takes back what a worker said while it lived: readiness and live gauges."""
    management.worker_ended(worker.number)
    multiprocess.forget(f"worker{worker.number}")


def on_exit(server: Any) -> None:
    """Ends the management port last."""
    management.stop()
    shutil.rmtree(_metrics_folder, ignore_errors=True)
