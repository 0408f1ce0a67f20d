"""Where the time of a request goes, inside the process that answers it.

A step is a function that was replaced by itself between two looks at a clock. Its own time is what is left when the
steps inside it are taken away, so that all steps together are the whole. Nothing else is changed: no profiler, no
sampling. Each step costs its surroundings about as much as `overhead` says.
"""

from __future__ import annotations

import functools
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django.core.handlers import base
from django.utils.module_loading import import_string

from internal import context

Name = str | Callable[..., str]
BESIDE = "beside: "  # in front of a step that another thread takes for the same request


class Stopwatch:
    """Times the steps of one request after the other."""

    def __init__(self) -> None:
        self._stacks = threading.local()
        self._owner = threading.get_ident()
        self._now: defaultdict[str, int] = defaultdict(int)
        self.requests: list[dict[str, int]] = []  # by step, its own time in ns

    def timed(self, name: Name, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a step. `name` may depend on its arguments."""

        @functools.wraps(function)
        def step(*args: Any, **kwargs: Any) -> Any:
            beside = threading.get_ident() != self._owner
            if beside and not context.request_id():  # a thread of the process's own
                return function(*args, **kwargs)
            label = name if isinstance(name, str) else name(*args, **kwargs)
            stack = self._stack()
            stack.append(0)
            began = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter_ns() - began
                self._now[BESIDE + label if beside else label] += spent - stack.pop()
                if stack:
                    stack[-1] += spent

        return step

    def replace(self, name: Name, dotted: str) -> None:
        """Makes a step of the function, method or property of that dotted name; nothing where there is none."""
        owner_name, _, attribute = dotted.rpartition(".")
        owner = _thing(owner_name)
        found = None if owner is None else vars(owner).get(attribute)
        if isinstance(found, property):
            assert found.fget is not None
            setattr(owner, attribute, property(self.timed(name, found.fget)))
        elif isinstance(found, classmethod):
            setattr(owner, attribute, classmethod(self.timed(name, found.__func__)))
        elif callable(found):
            setattr(owner, attribute, self.timed(name, found))

    def finish(self) -> None:
        """The request is over."""
        self.requests.append(dict(self._now))
        self._now.clear()

    def clear(self) -> None:
        """Forgets what was measured so far."""
        self._now.clear()
        self.requests.clear()

    def medians(self) -> dict[str, float]:
        """By step, the median of all requests in µs, in the order in which steps ended first."""
        names = dict.fromkeys(name for request in self.requests for name in request)
        return {name: statistics.median(request.get(name, 0) for request in self.requests) / 1000 for name in names}

    def overhead(self) -> float:
        """What one step costs, in µs."""
        nothing = self.timed("nothing", lambda: None)
        began = time.perf_counter_ns()
        for _ in range(10_000):
            nothing()
        spent = time.perf_counter_ns() - began
        self._now.clear()
        return spent / 10_000 / 1000

    def _stack(self) -> list[int]:
        stack: list[int] | None = getattr(self._stacks, "stack", None)
        if stack is None:
            stack = self._stacks.stack = []
        return stack


class TimedLog:
    """A logger whose lines are a step."""

    def __init__(self, stopwatch: Stopwatch, log: Any) -> None:
        self._log = log
        self.info = stopwatch.timed("log line", log.info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _thing(dotted: str) -> Any:
    """The module or class of that name, or None: what this process has not loaded, it does not use."""
    if dotted in sys.modules:
        return sys.modules[dotted]
    module, _, name = dotted.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def time_middleware(stopwatch: Stopwatch) -> None:
    """Makes a step of each middleware that Django is going to load, with its `process_view`."""
    base.import_string = functools.partial(_factory, stopwatch)  # type: ignore[attr-defined]


def _factory(stopwatch: Stopwatch, dotted: str) -> Callable[..., Any]:
    return functools.partial(_timed_middleware, stopwatch, dotted)


def _timed_middleware(stopwatch: Stopwatch, dotted: str, get_response: Callable[..., Any]) -> Any:
    label = f"middleware {dotted.rpartition('.')[2].removesuffix('Middleware')}"
    made = import_string(dotted)(get_response)
    layer = _Layer(stopwatch.timed(label, made.__call__))
    for hook in ("process_view", "process_template_response", "process_exception"):
        if hasattr(made, hook):
            setattr(layer, hook, _Hook(stopwatch.timed(label, getattr(made, hook)), made))
    return layer


class _Layer:
    """A middleware from outside."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, request: Any) -> Any:
        return self._call(request)


class _Hook:
    """A method of a middleware from outside; Django asks whose it is."""

    def __init__(self, call: Callable[..., Any], owner: object) -> None:
        self._call = call
        self.__self__ = owner

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)
