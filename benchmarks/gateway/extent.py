"""How much is measured: enough to trust the figures, or little, to see that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """The size of a run.

    Attributes:
        people: accounts, each with a profile image.
        rounds: how often everything that is compared takes its turn.
        seconds: of load in one turn.
        requests: of each kind, whose steps are timed.
        changes: of each kind, whose answers are watched.
    """

    people: int = 1_000
    rounds: int = 5
    seconds: int = 3
    requests: int = 2_000
    changes: int = 50

    @classmethod
    def quick(cls) -> Extent:
        """A run that says whether everything works, and little else."""
        return cls(people=200, rounds=1, seconds=2, requests=300, changes=5)
