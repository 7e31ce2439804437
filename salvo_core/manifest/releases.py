"""What scripts say of the release cursor: whose messages their caller must publish now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """What skipping rows led to.

    Attributes:
        ended: Rows that it ended.
        run_finished: One of them was the run's last; seal it.
        seeded: Rows of the run that there were; later ones are still to be skipped.
        release: Indices whose messages the caller must publish now.
    """

    ended: int
    run_finished: bool
    seeded: int
    release: Sequence[int]


def released(start: int, stop: int, *passed: int) -> Sequence[int]:
    """Return the indices in [start, stop) without those that the cursor passed over, ascending."""
    if not passed:
        return range(int(start), int(stop))
    return sorted({*range(int(start), int(stop))} - set(map(int, passed)))
