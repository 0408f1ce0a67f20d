"""A two-sample test for a shift, and how surely it would have found one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import groupby
from statistics import NormalDist, median

_NORMAL = NormalDist()


def without_drift(
    first: Sequence[float], second: Sequence[float], *, block: int = 25
) -> tuple[list[float], list[float]]:
    """Two samples that were measured in pairs, less the median of each `block` pairs, both samples taken together.

    What else the machine has to do changes from minute to minute, and for both alike. The median does not know which
    sample a value is of, so a difference between them stays what it is.
    """
    levelled: tuple[list[float], list[float]] = ([], [])
    for start in range(0, len(first), block):
        parts = first[start : start + block], second[start : start + block]
        level = median([*parts[0], *parts[1]])
        for sample, part in zip(levelled, parts, strict=True):
            sample.extend(value - level for value in part)
    return levelled


def p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Of the two-sided Mann-Whitney U test (normal approximation, corrected for ties and continuity).

    It compares ranks, so the long tail of times on a busy machine does not blunt it, as it would a comparison of means.
    Source: Mann and Whitney, "On a Test of Whether one of Two Random Variables is Stochastically Larger", 1947.
    """
    n, m = len(first), len(second)
    ordered = sorted([(value, True) for value in first] + [(value, False) for value in second])
    rank_sum = ties = 0.0
    position = 0
    for _, group in groupby(ordered, key=lambda item: item[0]):
        members = [is_first for _, is_first in group]
        rank_sum += sum(members) * (position + (len(members) + 1) / 2)
        ties += len(members) ** 3 - len(members)
        position += len(members)
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance == 0:
        return 1.0
    distance = abs(rank_sum - n * (total + 1) / 2) - 0.5
    return min(1.0, 2 * (1 - _NORMAL.cdf(distance / math.sqrt(variance))))


def power(
    first: Sequence[float], second: Sequence[float], *, shift: float, alpha: float, rounds: int, seed: int
) -> float:
    """With what probability p_value would fall below alpha if the second sample were shifted.

    Both samples are drawn anew, with replacement, from all that was measured: only the spread counts, not which of the
    two a value came from. So this says nothing about the outcome of the test, and may decide how long to measure.
    """
    chance = random.Random(seed)  # noqa: S311 - a simulation
    pooled = [*first, *second]
    found = sum(
        p_value(
            chance.choices(pooled, k=len(first)),
            [value + shift for value in chance.choices(pooled, k=len(second))],
        )
        < alpha
        for _ in range(rounds)
    )
    return found / rounds
