"""An alert: what is told, before anybody decided how.

Its id is made of what it is about, so whoever works it out again, after a crash or on another
machine, means the same alert: a channel is told once, and a receiver recognises what it has seen.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from salvo_core.identity import canonical_json
from salvo_core.store import keys
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.alert/1"
"""Of the document that channels carry."""

Kind = Literal["alert", "all clear", "trouble"]

LINES_MAX = 200
CELLS_MAX = 1_000

_Line = Annotated[str, Field(max_length=2_000)]


class AlertCell(Frozen):
    """One cell that an alert is about."""

    model_config = ConfigDict(allow_inf_nan=False)

    scenario: str = Field(max_length=1_000)
    model: str = Field(max_length=1_000)
    rate: float | None = Field(default=None, ge=0, le=1)
    """Its pass rate in the run that decided, 0 to 1; None where no trial has a grade."""
    reference: float | None = Field(default=None, ge=0, le=1)
    """What it was measured against, 0 to 1."""
    n: int = Field(default=0, ge=0)
    """Trials with a grade behind ``rate``."""
    evidence: float = Field(default=0, ge=0)
    """How much speaks against chance; larger is more."""


class Alert(Frozen):
    """What is told, and once."""

    id: str = Field(pattern=keys.ALERT_ID)
    """Of the incident and the kind; the same incident told twice has the same id."""
    incident: str = Field(pattern=keys.ALERT_ID)
    """Shared by an alert and its all-clear."""
    kind: Kind
    """``trouble``: a nightly could not run or be judged. It says nothing about the agent."""
    schedule: str = Field(pattern=keys.SCHEDULE_NAME)
    run_id: str = Field(default="", max_length=36)
    """The run that decided it, empty where none did."""
    at: AwareDatetime
    title: str = Field(min_length=1, max_length=300)
    """One line."""
    lines: tuple[_Line, ...] = Field(default=(), max_length=LINES_MAX)
    """Plain text, never markup."""
    cells: tuple[AlertCell, ...] = Field(default=(), max_length=CELLS_MAX)
    test: bool = False
    """A person tries whether it arrives; nothing happened."""

    def body(self) -> bytes:
        """Return the document that channels carry: one line of UTF-8 JSON, the same on every call."""
        return canonical_json({"schema": SCHEMA, **self.model_dump(mode="json")})
