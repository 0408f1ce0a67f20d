"""Metrics of the images role alone."""

from __future__ import annotations

from prometheus_client import Gauge

REMOVALS_WAITING = Gauge(
    "images_removals_waiting",
    "Files of deleted images that could not be removed yet.",
    multiprocess_mode="livemostrecent",
)
