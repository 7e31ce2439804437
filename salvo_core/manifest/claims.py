"""What the manifest answers about a trial: a claim, a refusal, what a commit or a renewal led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Purpose = Literal["run", "close_cancelled", "close_lost"]
PURPOSES: frozenset[str] = frozenset(get_args(Purpose))


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to attempt a trial, until the lease ends.

    ``attempt`` is the fencing token: every later call names it, and only the attempt that
    still holds the trial is heard. ``purpose`` says whether to run the trial or only to
    store what its journal holds (its run was cancelled, or it lost too many workers).
    """

    run_id: str
    index: int
    trace_id: str
    worker: str
    attempt: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no claim: the message was a duplicate, late, or not ours.

    ``run_finished`` is set when refusing ended the run's last row (a cancelled or skipped one);
    ``release`` holds indices whose messages the caller must publish now.
    """

    reason: Literal["done", "held", "cancelled", "skipped", "paused", "unknown"]
    run_finished: bool = False
    release: Sequence[int] = range(0)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit led to.

    Attributes:
        won: False when the attempt no longer held the trial: its result counts for nothing.
        run_finished: This was the run's last row; seal it.
        release: Indices whose messages the caller must publish now.
    """

    won: bool
    run_finished: bool = False
    release: Sequence[int] = range(0)


@dataclass(frozen=True, slots=True)
class Renewal:
    """A run's state and the trials this worker turned out not to hold any more."""

    state: str
    lost: frozenset[int]
