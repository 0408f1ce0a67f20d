"""Whether the roles that the gateway needs can do their work, asked all the time and not only when somebody calls."""

from __future__ import annotations

import time

import structlog
from django.conf import settings

from internal import context, metrics
from internal.errors import ServiceError
from internal.transport import Transport

log = structlog.get_logger(__name__)

INTERVAL = 2.0  # seconds
TIMEOUT = 1.5  # seconds


def watch() -> None:
    """Asks each dependency for its status for ever and keeps `gateway_dependency_up`; runs in a thread of its own."""
    transports = [
        Transport("auth", settings.AUTH_URL, pool_size=1),
        Transport("images", settings.IMAGES_URL, pool_size=1),
    ]
    known: dict[str, bool] = {}
    while True:
        for transport in transports:
            name = transport.dependency
            try:
                up = _works(transport)
            except Exception:
                log.exception("dependency_check_failed", dependency=name)
                up = False
            metrics.DEPENDENCY_UP.labels(name).set(up)
            if known.get(name) is not up:
                log.info("dependency_changed", dependency=name, up=up)
            known[name] = up
        time.sleep(INTERVAL)


def _works(transport: Transport) -> bool:
    try:
        with context.deadline_of(TIMEOUT):
            status = transport.call("status", "GET", "/internal/v1/status").json
    except ServiceError:
        return False
    return isinstance(status, dict) and "down" not in (status.get("database"), status.get("storage"))
