"""The locks in requirements/: pinned, hashed, in agreement, nothing that nobody asked for, nothing known to be unsafe.

Everything here works offline. What it cannot know is a weakness that was published after MINIMUM was last looked at;
docs/security.md says how to ask.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "requirements"
ROLES = ("auth", "console", "gateway", "images")
CLIENT = "postgresql-client"  # one wheel, of which an image takes programs
LOCKS = (*ROLES, "local", "dev")
EVERY_LOCK = (*LOCKS, CLIENT)

# The oldest version of a package that may be locked, and why. Raise a floor when a weakness becomes known; a package
# that faces people, their files or their secrets is in here even if nothing is known, at the version it was chosen at.
MINIMUM = {
    "argon2-cffi": ("25.1", "hashes passwords"),
    "cryptography": ("50.0.0", "CVE-2026-69247: an oracle when PKCS#7 is decrypted; and earlier ones"),
    "django": ("5.2.19", "the newest security release of the 5.2 line when it was chosen"),
    "djangorestframework": ("3.15.2", "CVE-2024-21520: scripts in the browsable API"),
    "gunicorn": ("23.0.0", "CVE-2024-6827: request smuggling by Transfer-Encoding"),
    "idna": ("3.7", "CVE-2024-3651: quadratic time in encode"),
    "joserfc": ("1.4.2", "CVE-2025-65015: tokens of any size in messages"),
    "jsonschema": ("4.0", "reads schemas in the gateway"),
    "pillow": ("12.3.0", "CVE-2026-59199: write outside of the heap; reads files of strangers"),
    "psycopg": ("3.2", "talks to the database"),
    "pyyaml": ("5.4", "CVE-2020-14343: code in YAML"),
    "requests": ("2.32.4", "CVE-2024-47081: credentials of .netrc for another host (a tool of tests)"),
    "sqlparse": ("0.5.0", "CVE-2024-4340: recursion without end"),
    "structlog": ("25.1", "writes the log"),
    "urllib3": ("2.7.0", "CVE-2026-44432: compressed answers without limit"),
    "werkzeug": ("3.1.4", "CVE-2025-66221: device names on Windows (a tool of tests)"),
    "whitenoise": ("6.9", "serves files"),
    "zxcvbn": ("4.5", "judges passwords"),
}
# What must never be locked: versions that their authors took back, or with "*" a whole package. An index says what is
# taken back only to those who ask it, so a version goes in here when `make lock` warns of it.
TAKEN_BACK: dict[str, set[str]] = {
    "niquests": {"*"},  # takes the place of urllib3 under its name
}


@dataclass
class Locked:
    """One requirement of a lock."""

    name: str
    version: str
    marker: Marker | None
    hashes: list[str] = field(default_factory=list)


def logical_lines(lock: str) -> list[str]:
    text = (FOLDER / f"{lock}.txt").read_text().replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def parsed(line: str) -> Locked:
    """One line of a lock; fails for whatever is not exactly pinned and hashed."""
    requirement, *hashes = re.split(r"\s+--hash=", line)
    found = Requirement(requirement)
    assert found.url is None, f"{line} is taken from an address"
    [pin] = list(found.specifier)
    assert pin.operator == "==", f"{line} is not pinned"
    assert "*" not in pin.version, f"{line} is not pinned"
    return Locked(canonicalize_name(found.name), pin.version, found.marker, hashes)


def locked(lock: str) -> dict[str, Locked]:
    entries = [parsed(line) for line in logical_lines(lock)]
    names = [entry.name for entry in entries]
    assert len(names) == len(set(names)), "a package is locked twice"
    return {entry.name: entry for entry in entries}


@pytest.mark.parametrize("lock", EVERY_LOCK)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    entries = locked(lock)

    assert len(entries) == 1 if lock == CLIENT else len(entries) > 15
    for entry in entries.values():
        assert entry.hashes, entry.name
        assert [value for value in entry.hashes if not re.fullmatch(r"sha256:[0-9a-f]{64}", value)] == []


@pytest.mark.parametrize("lock", EVERY_LOCK)
def test_a_lock_has_no_options_no_addresses_and_nothing_from_elsewhere(lock: str) -> None:
    lines = (FOLDER / f"{lock}.txt").read_text().splitlines()

    assert [line for line in lines if line.startswith("-")] == []
    assert [line for line in lines if "://" in line or " @ " in line or line.startswith(("git+", "./"))] == []


def test_every_lock_is_there_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{lock}.txt" for lock in EVERY_LOCK}


@pytest.mark.parametrize("lock", [lock for lock in EVERY_LOCK if lock != "dev"])
def test_what_is_served_is_what_was_tested(lock: str) -> None:
    """Each lock is a part of that of development: the same packages, versions and hashes."""
    dev = locked("dev")

    for name, entry in locked(lock).items():
        assert name in dev, f"{name} of {lock} is not tested"
        assert (entry.version, entry.hashes) == (dev[name].version, dev[name].hashes), name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_package_is_older_than_is_safe_or_was_taken_back(lock: str) -> None:
    for name, entry in locked(lock).items():
        floor, reason = MINIMUM.get(name, ("0", ""))
        assert Version(entry.version) >= Version(floor), f"{name} {entry.version} in {lock}: {reason}"
        assert not Version(entry.version).is_prerelease, f"{name} {entry.version} in {lock} is no release"
        assert not {entry.version, "*"} & TAKEN_BACK.get(name, set()), f"{name} {entry.version} in {lock}"


def test_every_minimum_is_about_a_package_that_is_locked() -> None:
    assert set(MINIMUM) - set(locked("dev")) == set()


def declared() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by extra; what every role needs is in each of them."""
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = {extra: [Requirement(text) for text in texts] for extra, texts in project["optional-dependencies"].items()}

    def resolved(extra: str) -> list[Requirement]:
        found = []
        for requirement in extras[extra]:
            if requirement.name == project["name"]:
                found += [inner for name in sorted(requirement.extras) for inner in resolved(name)]
            else:
                found.append(requirement)
        return found

    shared = [Requirement(text) for text in project["dependencies"]]
    return {extra: [*shared, *resolved(extra)] for extra in extras}


def closure(requirements: list[Requirement], available: dict[str, Locked]) -> set[str]:
    """Every package that the requirements lead to, as the metadata of what is installed says.

    A package that is locked for another platform is not installed here; it is reached, and leads nowhere.
    """
    reached: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(item.name), extra) for item in requirements for extra in ("", *item.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        reached.add(name)
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for item in map(Requirement, texts):
            wanted = canonicalize_name(item.name)
            only_for_an_extra = item.marker is not None and "extra" in str(item.marker)
            if only_for_an_extra and not (extra and item.marker and item.marker.evaluate({"extra": extra})):
                continue
            if wanted in available:
                waiting += [(wanted, inner) for inner in ("", *item.extras)]
    return reached


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_what_pyproject_leads_to_and_nothing_else(lock: str) -> None:
    entries = locked(lock)
    asked_for = declared()[lock]

    assert {canonicalize_name(item.name) for item in asked_for} - set(entries) == set()
    assert set(entries) - closure(asked_for, entries) == set()
    for item in asked_for:
        assert item.specifier.contains(entries[canonicalize_name(item.name)].version), str(item)


def test_the_client_of_postgresql_is_of_the_wheel_that_pyproject_names() -> None:
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text())["dependency-groups"]

    [asked_for] = map(Requirement, groups[CLIENT])
    assert list(locked(CLIENT)) == [canonicalize_name(asked_for.name)]
    assert str(asked_for) in map(str, declared()["local"])


def test_what_is_installed_is_what_is_locked() -> None:
    wrong = []
    for name, entry in locked("dev").items():
        if entry.marker is not None and not entry.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != entry.version:
            wrong.append(f"{name}: {installed} is installed, {entry.version} is locked")
    assert wrong == []


def test_what_is_installed_fits_together() -> None:
    """As `pip check`: every requirement of every locked package is met by what is installed."""
    unmet = []
    for name in locked("dev"):
        try:
            texts = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        for item in map(Requirement, texts):
            if item.marker is not None and not item.marker.evaluate({"extra": ""}):
                continue
            try:
                version = importlib.metadata.version(item.name)
            except importlib.metadata.PackageNotFoundError:
                unmet.append(f"{name} needs {item}, which is missing")
                continue
            if not item.specifier.contains(version, prereleases=True):
                unmet.append(f"{name} needs {item}; {version} is installed")
    assert unmet == []


@pytest.mark.parametrize(
    "line",
    [
        "django>=5.2 --hash=sha256:00",
        "django --hash=sha256:00",
        "django==5.* --hash=sha256:00",
        "django @ https://example.org/django.whl --hash=sha256:00",
        "django==5.2,!=5.2.1 --hash=sha256:00",
    ],
)
def test_a_requirement_that_is_not_exactly_pinned_would_be_seen(line: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        parsed(line)
