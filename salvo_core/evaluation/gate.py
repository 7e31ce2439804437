"""A bar for the pass rate instead of the average score: passed only where the trials prove it."""

from __future__ import annotations

from pydantic import Field

from salvo_core.trace.frozen import Frozen


class Gate(Frozen):
    """What a cell's pass rate must be shown to be.

    Twenty passes of twenty prove no more than a rate of 0.84: a gate asks for enough trials, too, and
    says INCONCLUSIVE where there were too few instead of passing by luck.
    """

    pass_rate: float = Field(gt=0, lt=1)
    """The rate that the interval's lower end must clear."""
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    """Of the interval, two-sided (Wilson)."""
