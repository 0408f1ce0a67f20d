"""What is measured inside a role's settings, in a process of its own; prints one JSON object.

Run as `python -m benchmarks.signin.probe hashes N` (auth) or `… tokens N TOKEN` (gateway). Memory is given back as
under gunicorn (see config/gunicorn.conf.py), so that a hash finds the same conditions as in the role.
"""

from __future__ import annotations

import ctypes
import json
import resource
import sys
import time

import django

_M_MMAP_THRESHOLD = -3


def main(arguments: list[str]) -> None:
    """Measures what the first argument names."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 1024 * 1024)
    django.setup()
    what, times, *rest = arguments
    print(json.dumps(hashes(int(times)) if what == "hashes" else tokens(int(times), rest[0])))


def hashes(times: int) -> dict[str, float]:
    """CPU of one comparison of a password with its hash, user and system, in ms."""
    from auth import passwords

    stored = passwords.hash_password("lantern-orchid-mosaic-41")
    assert passwords.matches("lantern-orchid-mosaic-41", stored)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(times):
        passwords.matches("lantern-orchid-mosaic-41", stored)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "user_ms": (after.ru_utime - before.ru_utime) / times * 1000,
        "system_ms": (after.ru_stime - before.ru_stime) / times * 1000,
    }


def tokens(times: int, token: str) -> dict[str, float]:
    """How many access tokens one core verifies in a second of its time."""
    from internal import tokens as verification

    verification.verify(token)
    before = time.process_time()
    for _ in range(times):
        verification.verify(token)
    return {"per_cpu_second": times / (time.process_time() - before)}


if __name__ == "__main__":
    main(sys.argv[1:])
