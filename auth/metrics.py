"""Metrics of the auth role alone."""

from __future__ import annotations

from prometheus_client import Counter

HASHES = Counter("auth_password_hashes_total", "Password hashes worked out, to compare with or to store.")
HASHING_SECONDS = Counter("auth_password_hashing_cpu_seconds_total", "CPU time of password hashes, in seconds.")
