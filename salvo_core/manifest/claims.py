"""What the manifest answers about a trial: a claim, a refusal, what a commit or a renewal led to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from salvo_core.trace.model import EarlierAttempt

Purpose = Literal["run", "close_cancelled", "close_lost", "close_unread"]
PURPOSES: frozenset[str] = frozenset(get_args(Purpose))


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to attempt a trial, until the lease ends.

    ``attempt`` is the fencing token: every later call names it, and only the attempt that
    still holds the trial is heard. ``purpose`` says whether to run the trial or only to
    store what its journal holds (its run was cancelled, or it lost too many workers; ``close_unread``: and
    those who were to store it too, so that the journal itself must be left alone).

    ``strikes`` are workers that vanished over it since it last got on; ``past`` are the attempts at it that
    were lost, or that a retry replaced, oldest first.
    """

    run_id: str
    index: int
    trace_id: str
    worker: str
    attempt: int
    purpose: Purpose
    strikes: int = field(default=0, compare=False)
    past: tuple[EarlierAttempt, ...] = field(default=(), compare=False)

    @property
    def suspect(self) -> bool:
        """Whether it runs although a worker vanished over it: beside no other such trial."""
        return self.strikes > 0 and self.purpose == "run"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no claim: the message was a duplicate, late, or not ours.

    ``suspect``: a worker vanished over it, and this one holds another such trial already.
    ``run_finished`` is set when refusing ended the run's last row (a cancelled or skipped one);
    ``release`` holds indices whose messages the caller must publish now.
    """

    reason: Literal["done", "held", "cancelled", "skipped", "paused", "suspect", "unknown"]
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
