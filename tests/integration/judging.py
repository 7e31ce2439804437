"""A judge whose votes a test writes down, and scenarios that are put before it."""

from __future__ import annotations

from typing import Any

from salvo_core.adapters.protocol import TurnReply
from salvo_core.errors import ProviderError
from salvo_core.trace.model import ToolCall, Usage
from tests.integration.site import Stage, loaded

USAGE = Usage(input_tokens=1000, output_tokens=500)
VOTE_USD = 0.00045
"""Of one vote of USAGE by gpt-4o-mini."""

YES, NO = {"kind": 0.9}, {"kind": 0.1}
MUTE = "I would rather not say."


class JudgeOfRecord:
    """Answers vote number n with the n-th thing it was given, the last one from then on.

    Args:
        votes: Scores by criterion, a text, or a provider's error to raise.
        usage: Billed for each answer.
    """

    name = "judge"

    def __init__(self, *votes: dict[str, float] | str | ProviderError, usage: Usage = USAGE) -> None:
        self.votes = votes
        self.usage = usage
        self.stage = Stage()
        self.seen: list[tuple[str, Any, Any]] = []

    @property
    def asked(self) -> list[int]:
        """The numbers of the votes that were asked for, in order."""
        return [number for _, number in self.stage.asked]

    async def send_turn(self, messages: Any, tools: Any, config: Any) -> TurnReply:
        self.seen.append((config.model, messages, config))
        await self.stage.enter(config.trace_id, config.turn)
        vote = self.votes[min(config.turn, len(self.votes) - 1)]
        if isinstance(vote, ProviderError):
            raise vote
        if isinstance(vote, str):
            return TurnReply(vote, usage=self.usage, finish_reason="stop", model=config.model)
        scores = {name: {"score": score, "reasoning": f"[b]{name}[/b] it is"} for name, score in vote.items()}
        call = ToolCall(id="c1", name="score_criteria", arguments=scores)
        return TurnReply(None, (call,), self.usage, "tool_calls", config.model)

    async def aclose(self) -> None:
        pass


def judge(*names: str, **fields: Any) -> dict[str, Any]:
    """Return a judge assertion on criteria of these names, ``kind`` if none is given."""
    criteria = [{"name": name, "description": f"Is it {name}?"} for name in names or ("kind",)]
    return {"type": "judge", "judge_adapter": "judge", "criteria": criteria, **fields}


def judged(*assertions: dict[str, Any], **fields: Any) -> Any:
    """Return the refund scenario with these assertions besides one that always holds."""
    return loaded(assertions=[{"type": "output_contains", "value": "refund"}, *assertions], **fields)
