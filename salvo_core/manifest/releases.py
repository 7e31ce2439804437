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


def released(start: int, stop: int, *others: int) -> Sequence[int]:
    """Return the indices whose messages go out, ascending.

    Args:
        start: Where the cursor was.
        stop: Where it is now.
        others: Indices that it passed over; and, as -1 - index, those behind it that go out again.
    """
    if not others:
        return range(int(start), int(stop))
    told = list(map(int, others))
    passed = {one for one in told if one >= 0}
    return sorted(({*range(int(start), int(stop))} - passed) | {-1 - one for one in told if one < 0})
