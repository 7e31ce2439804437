"""What a run came to, in the words that both implementations share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

CLOSE = 1e-9
"""Sums of floats in another order differ by less than this."""

COST_CLOSE_USD = 1.001e-6
"""Both keep six decimals. We price turn by turn and the predecessor all tokens at once, so a cost that
lies halfway between two millionths of a dollar may be rounded to either."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial as a user sees it; a trial that infrastructure ended has its status alone.

    Attributes:
        passed: By assertion, in the scenario's order.
        said: The conversation: (role, text, calls, answered call).
    """

    status: str
    score: float | None = None
    passed: tuple[bool, ...] = ()
    cost_usd: float | None = None
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = ""
    said: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """One run. One that was refused has an exit code and nothing else."""

    exit_code: int
    verdict: str | None = None
    trials: tuple[Trial, ...] = ()
    pass_rate: float | None = None
    score_mean: float | None = None
    score_min: float | None = None
    score_p50: float | None = None
    score_p95: float | None = None
    told: str = ""
    """What the process wrote; for people, never compared."""

    @property
    def outline(self) -> tuple[int, str | None, str]:
        """Exit code, verdict and the trials' statuses, for a table."""
        return self.exit_code, self.verdict, " ".join(trial.status for trial in self.trials)


def differences(one: Observed, other: Observed) -> list[str]:
    """Return where two runs differ, field by field; empty when they came to the same."""
    return list(_differences("", one, other, skip=("told",)))


def _differences(where: str, one: Any, other: Any, skip: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(one, Observed | Trial):
        for field in fields(one):
            if field.name not in skip:
                here = f"{where}.{field.name}".lstrip(".")
                yield from _differences(here, getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(f"{where}[{place}]", left, right)
    elif isinstance(one, float) and isinstance(other, float | int):
        slack = COST_CLOSE_USD if where.endswith("cost_usd") else CLOSE
        if not math.isclose(one, other, rel_tol=CLOSE, abs_tol=slack):
            yield f"{where}: {one!r} != {other!r}"
    elif one != other:
        yield f"{where}: {one!r} != {other!r}"
