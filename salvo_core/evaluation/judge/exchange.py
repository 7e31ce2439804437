"""One vote: the exchange with a provider that it takes, in whatever form the provider allows.

Not every provider lets a model be forced to call a tool, and not every model has tools at all. So a
question has three forms, tried in this order and remembered per adapter and model in ``Forms``: the
tool forced, the tool offered, no tool and the same JSON asked for in text (the wording is the same in
all three). The next form is tried only when the provider refuses the request for good, or fails with a
500, and its own words speak of tools or functions; everything else, a wrong model's name among it,
fails the vote.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Protocol

from salvo_core.adapters.prices import rounded_usd
from salvo_core.adapters.protocol import Adapter, TurnConfig
from salvo_core.adapters.retrying import AnsweredTurn, Backoff, TurnFailed, send_with_retries
from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.evaluation.judge.prompt import Question
from salvo_core.evaluation.judge.reading import TOOL_NAME, Unreadable, raw_text, read
from salvo_core.trace.model import Retry, Usage, Vote

FORCED, OFFERED, PLAIN = range(3)
"""The forms of a question."""

_REFUSALS = frozenset({400, 404, 422, 500, 501})
_OF_TOOLS = re.compile(r"(?i)\btools?\b|tool_|tool-|\bfunction")


class Bar(Protocol):
    """Whom judges are asked through; an ``AdapterRegistry`` is one."""

    def get(self, name: str, /) -> Adapter:
        """Return the adapter of that name; raises ``UsageError`` if there is none here."""
        ...

    def backoff_for(self, name: str, /) -> Backoff:
        """Return how patient to be with it."""
        ...

    def price_usd(self, name: str, model: str, usage: Usage, /) -> float | None:
        """Return what one exchange cost, US dollars; None if no price is known."""
        ...


@dataclass(slots=True)
class Forms:
    """Which form of a question each adapter and model takes, as far as was found out; one per worker."""

    found: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, adapter: str, model: str) -> int:
        """Return the form to try."""
        return self.found.get((adapter, model), FORCED)

    def refused(self, adapter: str, model: str, form: int) -> None:
        """Remember that a form is refused there, so that the next trial does not ask in vain."""
        self.found[adapter, model] = max(self.of(adapter, model), form + 1)


@dataclass(slots=True)
class Exchange:
    """One vote being asked for: in as many forms as it takes, with what each failed exchange was billed."""

    question: Question
    number: int
    bar: Bar
    clock: Clock
    forms: Forms
    trace_id: str
    trial: int
    retries: tuple[Retry, ...] = ()
    cost_usd: float | None = 0.0

    async def vote(self, adapter: Adapter | UsageError) -> Vote:
        """Return the vote, failed or not."""
        if isinstance(adapter, UsageError):
            said = f"{adapter.message} ({adapter.hint})" if adapter.hint else adapter.message
            return self._vote(error=said, error_kind="adapter")
        rng = random.Random(f"{self.trace_id}/{self.question.request}/{self.number}")  # noqa: S311
        while True:
            form = self.forms.of(self.question.adapter, self.question.model)
            try:
                answered = await self._asked(adapter, form, rng)
            except TurnFailed as failed:
                self._billed(failed.retries, failed.cost_usd)
                if form < PLAIN and _refuses_tools(failed):
                    self.forms.refused(self.question.adapter, self.question.model, form)
                    continue
                return self._vote(error=failed.message, error_kind=failed.error.kind)
            self._billed(answered.retries, answered.cost_usd)
            return self._read(answered)

    async def _asked(self, adapter: Adapter, form: int, rng: random.Random) -> AnsweredTurn:
        asked = self.question
        return await send_with_retries(
            adapter,
            asked.messages,
            None if form == PLAIN else (asked.tool,),
            TurnConfig(
                model=asked.model,
                temperature=asked.temperature,
                max_tokens=asked.max_tokens,
                must_call=TOOL_NAME if form == FORCED else "",
                trace_id=self.trace_id,
                trial=self.trial,
                turn=self.number,
            ),
            backoff=self.bar.backoff_for(asked.adapter),
            clock=self.clock,
            rng=rng,
            price=lambda model, usage: self.bar.price_usd(asked.adapter, model, usage),
        )

    def _billed(self, retries: tuple[Retry, ...], cost_usd: float | None) -> None:
        self.retries += retries
        unknown = self.cost_usd is None or cost_usd is None
        self.cost_usd = None if unknown else (self.cost_usd or 0.0) + (cost_usd or 0.0)

    def _read(self, answered: AnsweredTurn) -> Vote:
        reply = answered.reply
        came = {
            "raw": raw_text(reply),
            "model": reply.model,
            "usage": reply.usage,
            "latency_s": round(answered.latency_s, 6),
        }
        try:
            found = read(reply, self.question.names, self.question.planted)
        except Unreadable as why:
            cut = " (it was cut off at max_tokens)" if reply.finish_reason in ("length", "max_tokens") else ""
            return self._vote(error=f"{why}{cut}", error_kind="unreadable", **came)
        return self._vote(scores=dict(found.scores), reasoning=dict(found.reasoning), **came)

    def _vote(self, **fields: object) -> Vote:
        cost_usd = None if self.cost_usd is None else rounded_usd(self.cost_usd)
        return Vote.model_validate(
            {"number": self.number, "retries": self.retries, "cost_usd": cost_usd, **fields}
        )


def _refuses_tools(failed: TurnFailed) -> bool:
    """Tell whether a provider will not take tools, or will not have one forced, and not just this request.

    Servers answer that with 400 or 422, llama.cpp with 500, OpenRouter with 404, and each in its own
    prose; the machine-readable names say nothing of it. The host's name is no part of the prose.
    """
    error = failed.error
    if error.status_code not in _REFUSALS or error.kind not in ("permanent", "transient"):
        return False
    return _OF_TOOLS.search(error.message.partition(" answered ")[2]) is not None
