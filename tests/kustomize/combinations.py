"""The supported combinations of components (combinations.toml), as few of them as cover every supported pair."""

from __future__ import annotations

import itertools
import tomllib
from functools import cache
from pathlib import Path

Combination = tuple[str, ...]

_DECLARED = tomllib.loads((Path(__file__).with_suffix(".toml")).read_text())
CHOICES: dict[str, list[str]] = _DECLARED["choices"]
ORDER: list[str] = _DECLARED["order"]
PLACES: dict[str, dict[str, str]] = _DECLARED["places"]


def supported() -> list[Combination]:
    """Every combination that may be used: one value of each choice, in the order of CHOICES."""
    refused = [set(each["together"]) for each in _DECLARED["unsupported"]]
    return [
        chosen for chosen in itertools.product(*CHOICES.values()) if not any(pair <= set(chosen) for pair in refused)
    ]


def pairs(chosen: Combination) -> set[tuple[tuple[str, str], ...]]:
    """The pairs of values that a combination brings together."""
    return set(itertools.combinations(zip(CHOICES, chosen, strict=True), 2))


@cache
def covering() -> tuple[Combination, ...]:
    """Combinations that bring together every two values that any supported one does; always the same ones."""
    candidates = supported()
    left = set().union(*map(pairs, candidates))
    taken: list[Combination] = []
    while left:
        best = max(candidates, key=lambda chosen: len(pairs(chosen) & left))
        taken.append(best)
        left -= pairs(best)
    return tuple(taken)


def components(chosen: Combination) -> list[str]:
    """The names of the components of a combination, in the order in which an overlay names them.

    `x/y` is the part of `x` for what `y` brings (its hosts to `monitoring`, its edges to `network-policies`): it comes
    with both of them.
    """
    wanted = {*chosen, *_DECLARED["always"]}
    return [name for name in ORDER if wanted.issuperset(name.split("/"))]


def title(chosen: Combination) -> str:
    """A combination as the name of a test."""
    return "+".join(name for name in ORDER if name in chosen)
