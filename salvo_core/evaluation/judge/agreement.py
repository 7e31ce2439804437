"""How much the votes of a judge agree, over many conversations: numbers from counts alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike votes on the same conversation are.

    Attributes:
        units: Conversations with at least two heard votes: only these can agree or not.
        unanimous: Of those, all votes of which say the same.
        alpha: Krippendorff's alpha: 1 when every unit is unanimous, 0 for what chance would give,
            below 0 when votes disagree more than that. None if it is not defined: no units, or every
            vote of every unit says the same, so that there is nothing to tell from chance.
    """

    units: int
    unanimous: int
    alpha: float | None

    @property
    def unanimous_share(self) -> float | None:
        """Share of units that are unanimous, 0-1; None without units."""
        return self.unanimous / self.units if self.units else None


def agreement(counts: Mapping[tuple[int, int], int]) -> Agreement:
    """Return how much votes for and against agree.

    Args:
        counts: How many conversations had so many ``(heard, in favour)`` votes. Order does not matter.

    Raises:
        ValueError: More votes in favour than heard, or a negative number.

    Source:
        K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), nominal data, any number
        of observers, missing data.
    """
    units = unanimous = votes = in_favour = 0
    differing = 0.0  # pairs of votes on one unit that differ, each unit's divided by its votes less one
    for (heard, favour), times in sorted(counts.items()):
        if not 0 <= favour <= heard or times < 0:
            raise ValueError(f"{times} units with {favour} of {heard} votes in favour cannot be")
        if heard < 2:
            continue
        units += times
        unanimous += times if favour in (0, heard) else 0
        votes += times * heard
        in_favour += times * favour
        differing += times * 2 * favour * (heard - favour) / (heard - 1)
    by_chance = 2 * in_favour * (votes - in_favour)
    if not by_chance:
        return Agreement(units, unanimous, None)
    return Agreement(units, unanimous, 1 - (votes - 1) * differing / by_chance)
