"""What a system needs done now and then, and a cluster's CronJobs do there: the commands of the console, on a timer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping

from ops.layout import CONSOLE, PROJECT, State
from ops.processes import Command, run_to_end

CHORES = (("signing_keys", "maintain"), ("credentials", "purge"), ("audit", "prune"))
"""Commands of manage.py. Each does only what is due, and may be repeated, interrupted and run in parallel."""


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
            code = await run_to_end(
                Command(
                    (sys.executable, str(PROJECT / "manage.py"), *words),
                    log=log,
                    environment={
                        **environment,
                        "DJANGO_SETTINGS_MODULE": CONSOLE.settings,
                        "SEAWALL_STATE": str(state.root),
                    },
                    cwd=PROJECT,
                )
            )
            if not code:
                failing.discard(words)
            elif words not in failing:
                failing.add(words)
                say(f"`manage.py {' '.join(words)}` failed and will be tried again: see {log}")
