"""Which of the queue's lists a run's messages wait in: no run stands behind another one's hundred thousand.

The queue is LANES lists of each priority. A run is given the emptiest lane when it is ordered and
keeps it, for its plan says so; workers take from the lanes in turn. So a run of twenty trials that is ordered
after one of a hundred thousand has its share of the next free places, however deep the other's lane is. The
last lanes are for small runs alone: of all that are under way, only small ones may stand before a small one.
Windows that each commit refills would be as fair, but must be as long as a fleet is fast and as short as
its trials are slow, and cost every trial a message of its own.

Priorities are Celery's on Redis: lists of a higher one are emptied first, so a low one can wait for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)

LANES = 8
"""Each lane is one more list to ask."""

LANES_OF_SMALL = 2
"""The last ones. As many large runs as there are other lanes do not wait for one another; more share them."""

SMALL_MAX = 100
"""Trials of a run that somebody waits for; the next one in its lane is held up by no more."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages of a run go.

    Attributes:
        lane: 0 <= lane < LANES.
        priority: Against all other runs.
    """

    lane: int = 0
    priority: Priority = "normal"


def lanes_open_to(trials: int) -> int:
    """Return how many lanes, counted from the first, a run of so many trials may be given."""
    return LANES if trials <= SMALL_MAX else LANES - LANES_OF_SMALL


USUAL = Route()
"""Of messages whose plan nobody here has read: as good as any, because a message is a hint."""
