"""The errors that end a trial from outside the conversation, in the words a person reads."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

from salvo_core.adapters.gate import Barred
from salvo_core.errors import SalvoError
from salvo_core.trace.model import EarlierAttempt, ErrorKind, TrialError
from salvo_core.trace.recording import Recording
from salvo_core.trace.redaction import Redactor

HISTORY_MAX = 10
"""Lost attempts that an error names; the trace has them all."""


def as_trial_error(kind: ErrorKind, error: SalvoError) -> TrialError:
    """Return one of Salvo's own errors as it stands in a trace."""
    return TrialError(kind=kind, message=error.message, error_class=type(error).__name__, hint=error.hint)


def internal_error(error: Exception) -> TrialError:
    """Return a fault of ours as it stands in a trace."""
    return TrialError(
        kind="internal",
        message=f"Salvo could not go on with this trial: {str(error)[:300]}",
        error_class=type(error).__name__,
        hint="the worker's log has the details; please report it",
    )


def worker_lost(earlier: Sequence[EarlierAttempt]) -> TrialError:
    """Return the error of a trial that is not attempted again, with the history of its attempts.

    Args:
        earlier: Attempts before this one, oldest first.
    """
    lost = [one for one in earlier if one.how == "lost"]
    told = "; ".join(map(_told, lost[-HISTORY_MAX:]))
    return TrialError(
        kind="worker_lost",
        message=f"{len(lost)} workers vanished while they held this trial, and it is not given to another: "
        f"{told}",
        hint="look at those workers' logs and memory: something in this trial may end them; "
        "`salvo retry` lets it be tried again",
    )


def barred(bar: Barred, turn: int | None = None) -> TrialError:
    """Return the error of a trial whose next exchange may not be sent.

    Args:
        bar: Why.
        turn: The turn that was not asked for, 0-based; None for a judge's vote.
    """
    kinds: dict[str, ErrorKind] = {"budget": "budget", "unpriced": "scenario", "outage": "transient"}
    return TrialError(kind=kinds[bar.bar], message=bar.message, hint=bar.hint, turn=turn, retries=bar.retries)


def _told(lost: EarlierAttempt) -> str:
    at = datetime.fromtimestamp(lost.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    paid = "cost unknown" if lost.cost_usd is None else f"${lost.cost_usd:.6f}"
    kept = (
        f"{lost.turns} turn{'' if lost.turns == 1 else 's'} kept ({paid})" if lost.turns else "no turn kept"
    )
    return f"attempt {lost.attempt} on {lost.worker}, missed at {at} UTC, {kept}"


def log_fault(logger: logging.Logger, what: str, error: Exception, recording: Recording) -> None:
    """Log a fault with its traceback; of a run that keeps no content, without what the error said.

    Args:
        logger: Of whoever met it.
        what: What could not be done, a sentence without its end.
        error: The fault.
        recording: What the trial's run may keep.
    """
    if recording.mode == "full":
        told = Redactor(patterns=recording.patterns).text("".join(traceback.format_exception(error)))
    else:
        places = "".join(traceback.format_tb(error.__traceback__))
        told = f"{places}{type(error).__name__}, whose words the run does not keep"
    logger.error("%s\n%s", what, told)
