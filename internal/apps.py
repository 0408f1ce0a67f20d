"""The shared code as a Django app, so that its system checks are found."""

import sys
from typing import Any

import structlog
from django.apps import AppConfig
from django.core.signals import got_request_exception

log = structlog.get_logger(__name__)


class InternalConfig(AppConfig):
    """The app of what roles share."""

    name = "internal"

    def ready(self) -> None:
        """Logs what no view foresaw; the log line of the request has only its status."""
        got_request_exception.connect(_log_failure, dispatch_uid="internal.log_failure")


def _log_failure(**_: Any) -> None:
    log.error("request_failed", exc_info=sys.exc_info())
