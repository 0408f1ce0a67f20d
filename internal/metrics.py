"""Metrics that roles share. Labels avoid the names that scraping gives to targets (service, endpoint, job, …)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CALLS = Counter(
    "seawall_client_calls_total",
    "Calls to another role, by outcome: ok, rejected, unavailable, invalid_reply; or not asked at all: busy (too many "
    "calls to it are under way), circuit_open, deadline_exceeded.",
    ["dependency", "operation", "outcome"],
)
CALL_SECONDS = Histogram(
    "seawall_client_call_seconds",
    "How long a call to another role took, in seconds.",
    ["dependency", "operation"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15),
)
REPEATED = Counter(
    "seawall_client_calls_repeated_total",
    "Calls to another role that were sent a second time: of any ten or more in a row of a process, at most a tenth.",
    ["dependency"],
)
CIRCUIT_STATE = Gauge(
    "seawall_client_circuit_state",
    "The circuit breaker in front of another role: 0 closed, 1 half open, 2 open; the worst of all processes.",
    ["dependency"],
    multiprocess_mode="livemax",
)
DEPENDENCY_UP = Gauge(
    "gateway_dependency_up",
    "Whether the gateway's dependency can do its work: 1 yes, 0 no or not known for 6 s. Refreshed even when nobody "
    "calls.",
    ["dependency"],
    multiprocess_mode="livemostrecent",
)
DEPENDENCY_SINCE = Gauge(
    "gateway_dependency_changed_timestamp_seconds",
    "Since when gateway_dependency_up has had its value, in seconds since the epoch, as this gateway has seen it.",
    ["dependency"],
    multiprocess_mode="livemostrecent",
)
KEPT_ANSWERS = Counter(
    "gateway_kept_answers_total",
    "Answers that may be given again, by outcome: given once more, or made anew.",
    ["outcome"],
)
FOLLOWS_CHANGES = Gauge(
    "gateway_follows_changes",
    "Whether the gateway hears what changes at its dependency: 1 yes, 0 no. Only then kept answers are given.",
    ["dependency"],
    multiprocess_mode="livemostrecent",
)
BUILD = Gauge(
    "seawall_build",
    "Always 1; the labels say which release runs.",
    ["role", "version", "commit"],
    multiprocess_mode="livemax",
)
