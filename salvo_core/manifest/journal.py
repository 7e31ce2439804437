"""What the journal of an unfinished trial says, as far as this Salvo can read it.

A newer Salvo may have written what this one cannot read. A trial that stopped at it would stop for
every worker, for ever; so what cannot be read is asked for again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import ValidationError

if TYPE_CHECKING:
    from salvo_core.trace.model import EarlierAttempt, Turn, Vote

logger = logging.getLogger(__name__)

VOTES_READ_MAX = 2000
"""Votes on one trial that are read back: some hundred judges' worth, each vote at most some ten KB."""


def readable_turns(lines: Iterable[str], trial: str) -> tuple[Turn, ...]:
    """Return turns in order up to the first that cannot be read; ``trial`` names theirs in the log."""
    from salvo_core.trace.model import Turn  # whoever looks at a run reads no journal

    turns: list[Turn] = []
    for line in lines:
        try:
            turns.append(Turn.model_validate_json(line))
        except ValidationError as error:
            logger.error(
                "%s: turn %d cannot be read and is asked for again (%d problems)",
                trial, len(turns), error.error_count(),
            )  # fmt: skip
            break
    return tuple(turns)


def readable_vote(line: str, trial: str) -> Vote | None:
    """Return a vote, None if it cannot be read; ``trial`` names its trial in the log."""
    from salvo_core.trace.model import Vote  # as above

    try:
        return Vote.model_validate_json(line)
    except ValidationError as error:
        logger.error(
            "%s: a vote cannot be read and is asked for again (%d problems)", trial, error.error_count()
        )
        return None


def readable_past(lines: str, trial: str) -> tuple[EarlierAttempt, ...]:
    """Return the earlier attempts at a trial, one a line, as far as they can be read."""
    if not lines:
        return ()
    from salvo_core.trace.model import EarlierAttempt  # as above

    past: list[EarlierAttempt] = []
    for line in lines.splitlines():
        try:
            past.append(EarlierAttempt.model_validate_json(line))
        except ValidationError as error:
            logger.error("%s: an earlier attempt cannot be read (%d problems)", trial, error.error_count())
    return tuple(past)
