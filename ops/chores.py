"""What a system needs done now and then, and a cluster's CronJobs do there: the commands of the console, on a timer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping

from ops.layout import CONSOLE, PROJECT, State
from ops.processes import Command, describe_exit, run_to_end

CHORES = (
    ("signing_keys", "maintain"),
    ("credentials", "purge"),
    ("audit", "prune"),
    ("images", "reap"),
    ("backup", "create", "--if-older-than", "24h"),
    ("backup", "prune"),
)
"""Commands of manage.py. Each does only what is due, and may be repeated, interrupted and run in parallel."""

TIME_LIMIT = 600.0
"""Seconds for one of them."""


async def do_chores(state: State, environment: Mapping[str, str], *, every: float, say: Callable[[str], None]) -> None:
    """Carry out all chores, one after the other, every so many seconds, until cancelled.

    A chore that fails is said once, when it begins to fail: it is done again the next time. What each of them prints
    is in the log `chores.log` of the state folder.
    """
    log = state.log(CONSOLE).with_name("chores.log")
    failing: set[tuple[str, ...]] = set()
    while True:
        await asyncio.sleep(every)
        for words in CHORES:
            command = Command(
                (sys.executable, str(PROJECT / "manage.py"), *words),
                log=log,
                environment={
                    **environment,
                    "DJANGO_SETTINGS_MODULE": CONSOLE.settings,
                    "SEAWALL_STATE": str(state.root),
                },
                cwd=PROJECT,
            )
            fault = await _fault_in(command)
            if fault is None:
                failing.discard(words)
            elif words not in failing:
                failing.add(words)
                say(f"`manage.py {' '.join(words)}` failed and will be tried again ({fault}): see {log}")


async def _fault_in(command: Command) -> str | None:
    """Runs the command to its end; what went wrong, if something did."""
    try:
        async with asyncio.timeout(TIME_LIMIT):
            code = await run_to_end(command)
    except TimeoutError:
        return f"it took more than {TIME_LIMIT:g} s"
    except OSError as error:  # no room for its log, no process to be had
        return str(error)
    return describe_exit(code) if code else None
