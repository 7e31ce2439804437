"""How judges are asked where an assertion does not say: frozen into the plan of a run."""

from __future__ import annotations

from pydantic import Field

from salvo_core.trace.model import Frozen

VOTES_MAX = 21


class JudgeDefaults(Frozen):
    """The project's word on judges (``judge:`` in salvo.yaml); an assertion's own goes before it."""

    adapter: str = "openai"
    """Whom to ask: as a scenario's ``adapter``."""
    model: str = "gpt-4o-mini"
    k: int = Field(default=3, ge=1, le=VOTES_MAX)
    """Votes per assertion."""
    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_tokens: int = Field(default=1024, ge=1)
    """Most output tokens of one vote."""
    default_threshold: float = Field(default=0.8, ge=0, le=1)
    """The weighted score from which a vote is in favour."""
