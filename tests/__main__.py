"""Runs the suites: `python -m tests [SUITE…] [-- PYTEST-OPTION…]`; without a name, all of `make test`.

What a suite needs is made for it: a PostgreSQL, collected static files, a running system on free ports. A suite whose
tools this machine lacks is skipped and named at the end with the package that brings them; with REQUIRE_ALL=1, or when
the suite was asked for by its name, that is a failure. Exit status: 0 when everything passed, 1 when something failed,
2 for a wrong call.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests import support
from tests.suites import LANES, SUITES, Suite


class Outcome:
    """What came of one suite."""

    def __init__(self, suite: Suite, result: support.Result, seconds: float) -> None:
        self.suite = suite
        self.result = result
        self.seconds = seconds

    def line(self) -> str:
        result = self.result
        verdict = "ok" if result.ok else "FAILED"
        counts = f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped"
        lines = [f"{self.suite.name:10} {verdict:6} {counts:44} {self.seconds:6.1f} s"]
        return "\n".join([*lines, *(f"           {figure}" for figure in result.figures)])


def main(arguments: list[str]) -> int:
    """Runs what the arguments name and returns the exit status."""
    options: list[str] = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, options = arguments[:at], arguments[at + 1 :]
    unknown = [name for name in arguments if name not in SUITES]
    if unknown:
        print(f"There is no suite {', '.join(unknown)}. There are: {', '.join(SUITES)}.", file=sys.stderr)
        return 2
    if arguments:
        lanes, spare = [deque(SUITES[name] for name in arguments)], None
    else:
        lanes = [deque(lane) for lane in LANES]
        spare = lanes[-1]
    wanted = [suite for lane in lanes for suite in lane]

    missing = {suite.name: tool for suite in wanted for tool in suite.tools if tool.find() is None}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored, by pytest too
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is stopped
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    started = time.monotonic()
    outcomes: list[Outcome] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="seawall-test-") as folder,
            support.Surroundings(Path(folder)) as surroundings,
        ):
            Path(folder).chmod(0o711)  # as root: PostgreSQL's own user passes through to its data
            if any(suite.database for suite in wanted):
                surroundings.start_postgres()  # here, because it ends with the thread that started it
            if any(suite.system and not suite.own_system for suite in wanted):
                surroundings.start_system()
            threads = [
                threading.Thread(
                    target=_run_lane,
                    args=(lanes[number:], missing, surroundings, options, outcomes, lanes[number] is spare),
                    daemon=True,
                )
                for number in range(len(lanes))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except support.SurroundingsError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    required = bool(arguments) or os.environ.get("REQUIRE_ALL", "") not in {"", "0"}
    return _report(outcomes, missing, time.monotonic() - started, wanted=len(wanted), required=required)


def _run_lane(
    queues: Sequence[deque[Suite]],
    missing: dict[str, support.Named],
    surroundings: support.Surroundings,
    options: list[str],
    outcomes: list[Outcome],
    gives_way: bool,
) -> None:
    while suite := _next(queues):
        if suite.name in missing:
            continue
        started = time.monotonic()
        try:
            result = surroundings.run(suite, options, gives_way=gives_way)
        except support.SurroundingsError as error:
            result = support.Result(ok=False, failed=1, output=str(error))
        outcome = Outcome(suite, result, time.monotonic() - started)
        outcomes.append(outcome)
        text = outcome.line() if result.ok else f"{result.output}\n{outcome.line()}"
        print(text, flush=True)


def _next(queues: Sequence[deque[Suite]]) -> Suite | None:
    """The first suite of the first queue that has one; others may take from a queue at the same time."""
    for queue in queues:
        with suppress(IndexError):
            return queue.popleft()
    return None


def _report(
    outcomes: list[Outcome], missing: dict[str, support.Named], seconds: float, *, wanted: int, required: bool
) -> int:
    """Prints what came of everything; the exit status. `required`: a suite whose tool is missing has failed."""
    failed = [outcome for outcome in outcomes if not outcome.result.ok]
    complete = len(outcomes) + len(missing) == wanted
    print()
    for outcome in failed:
        print(f"FAILED: suite {outcome.suite.name}; again: .venv/bin/python -m tests {outcome.suite.name}")
    for name, tool in missing.items():
        verb = "FAILED" if required else "Skipped"
        print(f"{verb}: suite {name} needs {tool.name}: install the package {tool.package}")
    if not complete:
        print("FAILED: not every suite was run to its end")
    for reason in sorted({reason for outcome in outcomes for reason in outcome.result.lacking}):
        print(f"Skipped: {reason}")
    counts = [sum(getattr(outcome.result, kind) for outcome in outcomes) for kind in ("passed", "failed", "skipped")]
    print(f"In {seconds / 60:.1f} minutes:")
    print(f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped")
    return 0 if complete and not failed and not (missing and required) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
