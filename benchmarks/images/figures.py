"""What was measured, as lines of a table and as JSON: each with its spread, its goal, and whether that holds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Goal:
    """A bound that a figure should keep: at least it, or at most."""

    bound: float
    least: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value keeps it."""
        return value >= self.bound if self.least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {number(self.bound)}"


def at_least(bound: float) -> Goal:
    """The figure should not be smaller."""
    return Goal(bound, least=True)


def at_most(bound: float) -> Goal:
    """The figure should not be larger."""
    return Goal(bound)


@dataclass(frozen=True)
class Figure:
    """One line: what was measured in each round. What could not be measured has no rounds and a note that says why."""

    name: str
    rounds: tuple[float, ...]
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    @classmethod
    def one(cls, name: str, value: float, unit: str = "", *, goal: Goal | None = None, note: str = "") -> Figure:
        """What was measured once."""
        return cls(name, (value,), unit, goal, note)

    @classmethod
    def missing(cls, name: str, note: str) -> Figure:
        """What could not be measured."""
        return cls(name, (), note=note)

    @property
    def value(self) -> float | None:
        """The median of the rounds."""
        return statistics.median(self.rounds) if self.rounds else None

    @property
    def holds(self) -> bool | None:
        """Whether the goal is reached; None without a goal or a value."""
        return None if self.goal is None or self.value is None else self.goal.holds(self.value)

    def document(self) -> dict[str, Any]:
        """The figure for JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "rounds": [float(f"{each:.5g}") for each in self.rounds],
            "goal": None if self.goal is None else str(self.goal),
            "holds": self.holds,
            "note": self.note,
        }


def ratios(name: str, of: Sequence[float], to: Sequence[float], *, goal: Goal | None = None, note: str = "") -> Figure:
    """How many times `to` is in `of`, round by round: what slows one of a round down slows the other down, too."""
    return Figure(name, tuple(each / other for each, other in zip(of, to, strict=True)), goal=goal, note=note)


def alternate(rounds: int, measures: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Every measure once in each round, and each round begins with another one of them."""
    names = list(measures)
    measured: dict[str, list[T]] = {name: [] for name in names}
    for start in range(rounds):
        for step in range(len(names)):
            name = names[(start + step) % len(names)]
            measured[name].append(measures[name]())
    return measured


def print_table(title: str, figures: Iterable[Figure]) -> None:
    """Prints the figures of a part: value, smallest and largest round, goal."""
    shown = list(figures)
    width = max([58, *(len(figure.name) for figure in shown)])
    print(f"\n{title}")
    for figure in shown:
        if figure.value is None:
            print(f"  {figure.name:{width}} {'none':>12}  {figure.note}")
            continue
        value = f"{number(figure.value)}{f' {figure.unit}' if figure.unit else ''}"
        spread = f"{number(min(figure.rounds))} to {number(max(figure.rounds))}" if len(figure.rounds) > 1 else ""
        goal = "" if figure.goal is None else f"goal {figure.goal}: {'holds' if figure.holds else 'MISSED'}"
        print(f"  {figure.name:{width}} {value:>12}  {spread:20} {goal}".rstrip())
        if figure.note:
            print(f"    {figure.note}")


def number(value: float) -> str:
    """The value with as many digits as mean something."""
    if value == int(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.3f}"
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"
