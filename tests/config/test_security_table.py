"""docs/security.md: every requirement of the standard once, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TABLE = PROJECT / "docs" / "security.md"
STATES = {"holds", "design", "partly", "open", "n/a"}

# OWASP ASVS 5.0.0: the numbers of the requirements of levels 1 and 2, by section.
LEVELS: dict[str, tuple[str, str]] = {
    "1.1": ("", "1 2"), "1.2": ("1 2 3 4 5", "6 7 8 9"), "1.3": ("1 2", "3 4 5 6 7 8 9 10 11"), "1.4": ("", "1 2 3"),
    "1.5": ("1", "2"), "2.1": ("1", "2 3"), "2.2": ("1 2", "3"), "2.3": ("1", "2 3 4"), "2.4": ("", "1"),
    "3.2": ("1 2", ""), "3.3": ("1", "2 3 4"), "3.4": ("1 2", "3 4 5 6"), "3.5": ("1 2 3", "4 5"), "3.7": ("", "1 2"),
    "4.1": ("1", "2 3"), "4.2": ("", "1"), "4.3": ("", "1 2"), "4.4": ("1", "2 3 4"), "5.1": ("", "1"),
    "5.2": ("1 2", "3"), "5.3": ("1 2", ""), "5.4": ("", "1 2 3"), "6.1": ("1", "2 3"),
    "6.2": ("1 2 3 4 5 6 7 8", "9 10 11 12"), "6.3": ("1 2", "3 4"), "6.4": ("1 2", "3 4"), "6.5": ("", "1 2 3 4 5"),
    "6.6": ("", "1 2 3"), "6.8": ("", "1 2 3 4"), "7.1": ("", "1 2 3"), "7.2": ("1 2 3 4", ""), "7.3": ("", "1 2"),
    "7.4": ("1 2", "3 4 5"), "7.5": ("", "1 2"), "7.6": ("", "1 2"), "8.1": ("1", "2"), "8.2": ("1 2", "3"),
    "8.3": ("1", ""), "8.4": ("", "1"), "9.1": ("1 2 3", ""), "9.2": ("1", "2 3 4"), "10.1": ("", "1 2"),
    "10.2": ("", "1 2"), "10.3": ("", "1 2 3 4"), "10.4": ("1 2 3 4 5", "6 7 8 9 10 11"), "10.5": ("", "1 2 3 4 5"),
    "10.6": ("", "1 2"), "10.7": ("", "1 2 3"), "11.1": ("", "1 2"), "11.2": ("", "1 2 3"), "11.3": ("1 2", "3"),
    "11.4": ("1", "2 3 4"), "11.5": ("", "1"), "11.6": ("", "1"), "12.1": ("1", "2 3"), "12.2": ("1 2", ""),
    "12.3": ("", "1 2 3 4"), "13.1": ("", "1"), "13.2": ("", "1 2 3 4 5"), "13.3": ("", "1 2"),
    "13.4": ("1", "2 3 4 5"), "14.1": ("", "1 2"), "14.2": ("1", "2 3 4"), "14.3": ("1", "2 3"),
    "15.1": ("1", "2 3"), "15.2": ("1", "2 3"),
    "15.3": ("1", "2 3 4 5 6 7"), "16.1": ("", "1"), "16.2": ("", "1 2 3 4 5"), "16.3": ("", "1 2 3 4"),
    "16.4": ("", "1 2 3"), "16.5": ("", "1 2 3"), "17.1": ("", "1"), "17.2": ("", "1 2 3 4"), "17.3": ("", "1 2"),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    requirements: tuple[str, ...]
    levels: set[int]
    state: str
    proof: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        return [(path, name) for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", self.proof)]


def rows() -> list[Row]:
    found = []
    for line in TABLE.read_text().splitlines():
        if not line.startswith("| V"):
            continue
        ids, levels, _, state, proof = (cell.strip() for cell in line.strip("|").split("|"))
        found.append(Row(tuple(ids.split(", ")), {int(level) for level in levels.split(", ")}, state, proof))
    return found


def of_the_standard(level: int) -> set[str]:
    return {f"V{section}.{number}" for section, both in LEVELS.items() for number in both[level - 1].split()}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((PROJECT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_numbers_are_those_of_the_standard() -> None:
    """The standard says of itself that it has 70 requirements of level 1 and 183 of level 2."""
    assert (len(of_the_standard(1)), len(of_the_standard(2))) == (70, 183)


def test_every_requirement_is_in_the_table_once() -> None:
    listed = [requirement for row in rows() for requirement in row.requirements]

    assert sorted(listed) == sorted(set(listed))
    assert set(listed) ^ (of_the_standard(1) | of_the_standard(2)) == set()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.requirements[0])
def test_a_row_has_its_level_a_state_and_what_shows_it(row: Row) -> None:
    actual = {level for level in (1, 2) if of_the_standard(level) & set(row.requirements)}

    assert row.levels == actual
    assert row.state in STATES
    assert row.proof
    if row.state == "holds":
        assert row.tests, "what holds is shown by a test"


def test_every_test_that_is_named_exists() -> None:
    named = {test for row in rows() for test in row.tests}

    assert len(named) > 70
    missing = [f"{path}::{name}" for path, name in sorted(named) if not (PROJECT / path).is_file()]
    missing += [
        f"{path}::{name}" for path, name in sorted(named) if (PROJECT / path).is_file() and name not in names_in(path)
    ]
    assert missing == []
