"""What the attempts before this one come to: in the trace's history, and in what the trial cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from salvo_core.adapters.prices import rounded_usd
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.errors import ProviderPermanent
from salvo_core.trace.model import EarlierAttempt, Message, TrialError, Turn, Usage
from salvo_core.trial.conversation import Conversation


class Mute:
    """Stands where a model would, in an attempt that only stores what was said.

    A team's own adapter may be what ended the workers before it, so it is not even made.
    """

    name = "nobody"

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        """Refuse: nobody is to be asked."""
        raise ProviderPermanent("this attempt only stores what was said before it")

    async def aclose(self) -> None:
        """Do nothing."""


def with_turns(earlier: Sequence[EarlierAttempt], past: Sequence[Turn]) -> tuple[EarlierAttempt, ...]:
    """Return the earlier attempts, each with its share of the turns that this one goes on from."""
    told = []
    for one in earlier:
        own = [turn.cost_usd for turn in past if turn.attempt == one.attempt]
        told.append(one.model_copy(update={"turns": len(own), "cost_usd": added(own)}))
    return tuple(told)


def with_dropped(said: Conversation, earlier: Sequence[EarlierAttempt]) -> Conversation:
    """Return the conversation with what earlier attempts paid for and left behind in its cost and usage."""
    dropped = [one for one in earlier if one.how == "retried"]
    if not dropped:
        return said
    return replace(
        said,
        usage=sum((one.dropped_usage for one in dropped), said.usage),
        cost_usd=added([said.cost_usd, *(one.dropped_cost_usd for one in dropped)]),
    )


def unread(error: TrialError, messages: Sequence[Message] = ()) -> Conversation:
    """Return what is said of a trial whose journal may not be read: its cost is not known."""
    return Conversation(tuple(messages), (), "infra_error", error, Usage(), None, 0.0)


def added(costs_usd: Sequence[float | None]) -> float | None:
    """Return the sum of costs, None if one of them is not known."""
    known = [cost for cost in costs_usd if cost is not None]
    return rounded_usd(math.fsum(known)) if len(known) == len(costs_usd) else None
