"""How much is measured: enough to trust the figures, or little, to see that everything works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """The size of a run.

    Attributes:
        rounds: how often everything that is compared takes its turn.
        seconds: of load in one turn.
        stores: how many images the stores have that are compared.
    """

    rounds: int = 9
    seconds: int = 2
    stores: tuple[int, ...] = (1_000, 10_000, 100_000)

    @classmethod
    def quick(cls) -> Extent:
        """A run that says whether everything works, and little else."""
        return cls(rounds=3, seconds=1, stores=(200, 2_000))
