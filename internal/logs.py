"""Structured logs: one JSON object a line, readable lines on a terminal, and never a secret or an email address.

Every line carries the request id and, once it is known, the account id of the request at hand.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import logging.config
import os
import re
import select
import stat
import sys
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Literal

import structlog
from gunicorn.glogging import Logger

# Names of values that never reach a log, whatever they hold.
_SECRET_NAMES = re.compile(r"passw|token|secret|authorization|cookie|email|private|signature", re.IGNORECASE)
# A last net under everything, tracebacks included: addresses of people, JSON web tokens, bearer credentials.
_SECRET_SHAPES = (
    (re.compile(r"[^\s@<>\"'(){}\[\],;:=]+@[^\s@<>\"'(){}\[\],;:=]+\.[^\s@<>\"'(){}\[\],;:=.]+"), "[email]"),
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), "[token]"),
    (re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1[token]"),
    (re.compile(r"(?i)(postgres(?:ql)?://[^:/\s]+:)[^@\s]+@"), r"\1[password]@"),
    (re.compile(r"argon2\$[\w$=,+/]+"), "[hash]"),
    (re.compile(r"(Failing row contains )\(.*"), r"\1[row]"),
)
# What every one of these shapes has in it: most values have none of it, and need no closer look.
_SUSPICIOUS = re.compile(r"@|eyJ|://|argon2\$|Failing row|(?i:bearer\s)")
# Gunicorn's words for a request that it cannot read, up to where it quotes it.
_UNREADABLE_REQUEST = re.compile(r"(Invalid request from ip=[^'\"]*[^'\":\s]):?\s*b?['\"].*", re.DOTALL)


def configure(options: Mapping[str, Any]) -> None:
    """Sets up logging for the process.

    Args:
        options: `style`, "json" or "console", and `level`, a level name of `logging`.
    """
    style: Literal["json", "console"] = options["style"]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        _WholeLines(structlog.processors.JSONRenderer(default=str))
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        redact,
                        renderer,
                    ],
                }
            },
            "handlers": {"stderr": {"()": Handler, "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": options["level"]},
            "loggers": {
                # One line a request comes from internal.middleware; Django's repeats it, with the path.
                "django.request": {"level": "CRITICAL"},
                "django.security.csrf": {"level": "ERROR"},
                "django.security.DisallowedHost": {"level": "CRITICAL"},  # a traceback for what was no host
                "django.server": {"level": "ERROR"},
                "urllib3": {"level": "ERROR"},
                "psycopg.pool": {"level": "ERROR"},
                "PIL": {"level": "WARNING"},
            },
        }
    )


class _WholeLines:
    """Renders an event as a line that a pipe takes as a whole (pipe(7), PIPE_BUF): who else writes cannot get into it.

    Of its longest text, a traceback most of the time, the middle is left out for that.
    """

    def __init__(self, renderer: Callable[..., str | bytes]) -> None:
        self._renderer = renderer

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        while True:
            line = str(self._renderer(logger, name, dict(event)))
            excess = len(line) + 1 - select.PIPE_BUF  # it is ASCII, and ends with a line feed
            texts = {key: value for key, value in event.items() if isinstance(value, str)}
            longest = max(texts, key=lambda key: len(texts[key]), default="")
            size = len(texts.get(longest, ""))
            if excess <= 0 or size < _SHORT:
                return line
            left = max(size - excess - len(_LEFT_OUT), size // 2)  # more than it has is left out where it is escaped
            event[longest] = texts[longest][: left // 4] + _LEFT_OUT + texts[longest][left // 4 - left :]


_LEFT_OUT = " [...] "
_SHORT = 100  # characters of a text that is left as it is


class _Part(ctypes.Structure):
    """iovec of readv(2)."""

    _fields_ = (("start", ctypes.c_char_p), ("length", ctypes.c_size_t))


# With the interpreter's lock held: who gives it up for some microseconds gets it back when others have computed for
# milliseconds, and there is a line for each request.
_libc = ctypes.PyDLL(None)
_write = _libc.write
_write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
_write.restype = ctypes.c_ssize_t
_pwritev2 = getattr(_libc, "pwritev2", None) if hasattr(os, "RWF_NOWAIT") else None
if _pwritev2 is not None:
    _pwritev2.argtypes = (ctypes.c_int, ctypes.POINTER(_Part), ctypes.c_int, ctypes.c_int64, ctypes.c_int)
    _pwritev2.restype = ctypes.c_ssize_t
_HERE = -1  # as an offset: where write(2) would write


class Handler(logging.StreamHandler[Any]):
    """Writes to standard error. Of a record that cannot be written it tells that, and nothing that was in it.

    No thread waits for another one that makes its line, nor for one that writes, unless a line is too long for a pipe
    to take it as a whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[int, int] = {}  # of files, by their descriptor

    def handle(self, record: logging.LogRecord) -> Any:
        """As of any handler, without its lock."""
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line."""
        try:
            line = self.format(record) + self.terminator
            data = line.encode(errors="backslashreplace")
            if len(data) <= select.PIPE_BUF and (descriptor := self._descriptor()) is not None:
                written = self._write_at_once(descriptor, data)
                while written < len(data):  # never to a pipe
                    written += os.write(descriptor, data[written:])
                return
            assert self.lock
            with self.lock:
                self.stream.write(line)
                self.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with a record must not reach who logs
            self.handleError(record)

    def _write_at_once(self, descriptor: int, data: bytes) -> int:
        """Writes what goes without waiting; how many bytes that was."""
        kind = self._kinds.get(descriptor)
        if kind is None:
            kind = self._kinds[descriptor] = stat.S_IFMT(os.fstat(descriptor).st_mode)
        written = 0
        if kind == stat.S_IFREG:
            written = _write(descriptor, data, len(data))
        elif kind == stat.S_IFIFO and _pwritev2 is not None:
            written = _pwritev2(descriptor, _Part(data, len(data)), 1, _HERE, os.RWF_NOWAIT)
        return max(0, written)  # of an error os.write tells, or it waits

    def _descriptor(self) -> int | None:
        try:
            descriptor: int = self.stream.fileno()
        except (AttributeError, OSError, ValueError):
            return None
        return descriptor

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in logging
        """One line in place of the record."""
        kind = sys.exc_info()[0]
        line = {"event": "log_record_lost", "level": "error", "logger": record.name, "reason": kind and kind.__name__}
        with contextlib.suppress(OSError, ValueError):  # the stream is closed: nobody is there to be told
            self.stream.write(json.dumps(line) + self.terminator)
            self.flush()


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor that takes secrets and email addresses out of an event, by name and by shape."""
    for name, value in event.items():
        if name not in {"_record", "_from_structlog"}:
            event[name] = _redacted(name, value)
    return event


def _redacted(name: str, value: Any) -> Any:
    if _is_secret(name):
        return "[removed]"
    if isinstance(value, Mapping):
        return {_without_secrets(str(key)): _redacted(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", inner) for inner in value]
    if value is None or type(value) in {bool, int, float}:
        return value
    return _without_secrets(str(value))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _without_secrets(text: str) -> str:
    if _SUSPICIOUS.search(text) is None:
        return text
    for shape, replacement in _SECRET_SHAPES:
        text = shape.sub(replacement, text)
    return text


class GunicornLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's messages through the same handler as everything else; requests are logged by the middleware."""

    def setup(self, cfg: Any) -> None:
        """Leaves formatting and output to the root logger."""
        self.error_log.handlers = []
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)
        self.access_log.disabled = True

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Nothing: see internal.middleware.RequestContextMiddleware."""

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """A warning; of a request that is not HTTP, what is wrong and not what it says, which may be a password."""
        super().warning(_UNREADABLE_REQUEST.sub(r"\1", str(msg)), *args, **kwargs)
