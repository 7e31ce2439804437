"""How judges are asked where an assertion does not say: frozen into the plan of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from salvo_core.trace.frozen import Frozen

VOTES_MAX = 21
TEMPERATURE_MAX = 2.0

Judging = Literal["too", "skip", "only"]
"""A re-evaluation asks judges ``too``, lets their findings stand (``skip``), or asks ``only`` judges."""


def _can_be_asked(adapter: str) -> str:
    if not adapter.strip():
        raise PydanticCustomError("empty_text", "is empty")
    if adapter == "scripted":
        raise PydanticCustomError(
            "judge_adapter",
            "the adapter scripted cannot judge: it plays the agent's script, and a judge has none",
            {"hint": "`salvo simulate` plays a judge too: ask it through openai or anthropic"},
        )
    return adapter


JudgeAdapter = Annotated[str, AfterValidator(_can_be_asked)]
"""The name of an adapter that can be asked for an opinion."""


class JudgeDefaults(Frozen):
    """The project's word on judges (``judge:`` in salvo.yaml); an assertion's own goes before it."""

    adapter: JudgeAdapter = "openai"
    """Whom to ask: as a scenario's ``adapter``."""
    model: str = "gpt-4o-mini"
    k: int = Field(default=3, ge=1, le=VOTES_MAX)
    """Votes per assertion."""
    temperature: float = Field(default=0.0, ge=0, le=TEMPERATURE_MAX, allow_inf_nan=False)
    max_tokens: int = Field(default=1024, ge=1)
    """Most output tokens of one vote."""
    default_threshold: float = Field(default=0.8, ge=0, le=1)
    """The weighted score from which a vote is in favour."""
