"""How many access tokens one core verifies, measured inside the gateway's settings; prints one JSON object.

Run as `python -m benchmarks.signin.probe TIMES TOKEN`, in a process of its own.
"""

from __future__ import annotations

import json
import sys
import time

import django


def main(times: int, token: str) -> None:
    """Verifies the token again and again."""
    django.setup()
    from internal import tokens

    tokens.verify(token)
    before = time.process_time()
    for _ in range(times):
        tokens.verify(token)
    print(json.dumps({"per_cpu_second": times / (time.process_time() - before)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
