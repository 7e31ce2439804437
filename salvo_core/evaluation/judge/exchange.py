"""One vote: the exchange with a provider that it takes, in whatever manner the provider allows.

Not every provider lets a model be forced to call a tool, not every model has tools at all, and some
take neither a temperature nor ``max_tokens`` by that name. When a provider refuses a request for good
and its own words name one of these, that one is conceded and the same question asked again: the tool
forced, then offered, then none and the same JSON asked for in text (the wording covers all three);
without temperature; with ``max_completion_tokens``. A manner that worked is remembered per adapter and
model in ``Forms``. Every other refusal, a wrong model's name among it, fails the vote.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from typing import Protocol

from salvo_core.adapters.gate import OPEN_GATE, Gate
from salvo_core.adapters.prices import rounded_usd
from salvo_core.adapters.protocol import Adapter, TurnConfig
from salvo_core.adapters.retrying import AnsweredTurn, Backoff, TurnFailed, send_with_retries
from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.evaluation.judge.prompt import Question
from salvo_core.evaluation.judge.reading import TOOL_NAME, Unreadable, raw_text, read
from salvo_core.trace.model import Retry, Usage, Vote

FORCED, OFFERED, PLAIN = range(3)
"""How a question comes with its tool: it must be called, it may be, there is none."""

_REFUSALS = frozenset({400, 404, 422, 500, 501})
_OF_TOOLS = re.compile(r"(?i)\btools?\b|tool_|tool-|\bfunction")


@dataclass(frozen=True, slots=True)
class Manner:
    """How a provider is asked.

    Attributes:
        tools: FORCED, OFFERED or PLAIN.
        temperature: Whether it is sent.
        max_tokens: Whether it is sent under that name, or as ``max_completion_tokens``.
    """

    tools: int = FORCED
    temperature: bool = True
    max_tokens: bool = True

    def conceding(self, failed: TurnFailed) -> Manner | None:
        """Return how to ask again after a refusal; None if it names nothing that could be conceded.

        Servers refuse tools with 400 or 422, llama.cpp with 500, OpenRouter with 404, each in its own
        prose; the machine-readable names say nothing of it. The host's name is no part of the prose.
        """
        error = failed.error
        if error.status_code not in _REFUSALS or error.kind not in ("permanent", "transient"):
            return None
        words = error.message.partition(" answered ")[2]
        if self.max_tokens and "max_completion_tokens" in words:
            return replace(self, max_tokens=False)
        if self.temperature and "temperature" in words:
            return replace(self, temperature=False)
        if self.tools < PLAIN and _OF_TOOLS.search(words):
            return replace(self, tools=self.tools + 1)
        return None


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
    """In which manner each adapter and model can be asked, as far as was found out; one per worker."""

    found: dict[tuple[str, str], Manner] = field(default_factory=dict)

    def of(self, adapter: str, model: str) -> Manner:
        """Return the manner to begin with."""
        return self.found.get((adapter, model), Manner())

    def worked(self, adapter: str, model: str, manner: Manner) -> None:
        """Remember a manner in which an answer came, so that the next trial does not ask in vain."""
        if manner != self.of(adapter, model):
            self.found[adapter, model] = manner


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
    gate: Gate = OPEN_GATE
    retries: tuple[Retry, ...] = ()
    cost_usd: float | None = 0.0

    async def vote(self, adapter: Adapter | UsageError) -> Vote:
        """Return the vote, failed or not; raises ``Barred`` if it may not be asked for."""
        if isinstance(adapter, UsageError):
            said = f"{adapter.message} ({adapter.hint})" if adapter.hint else adapter.message
            return self._vote(error=said, error_kind="adapter")
        rng = random.Random(f"{self.trace_id}/{self.question.request}/{self.number}")  # noqa: S311
        asked = self.question
        manner: Manner | None = self.forms.of(asked.adapter, asked.model)
        while manner is not None:
            try:
                answered = await self._asked(adapter, manner, rng)
            except TurnFailed as error:
                failed = error
                self._billed(failed.retries, failed.cost_usd)
                manner = manner.conceding(failed)
                continue
            self.forms.worked(asked.adapter, asked.model, manner)
            self._billed(answered.retries, answered.cost_usd)
            return self._read(answered)
        return self._vote(error=failed.message, error_kind=failed.error.kind)

    async def _asked(self, adapter: Adapter, manner: Manner, rng: random.Random) -> AnsweredTurn:
        asked = self.question
        return await send_with_retries(
            adapter,
            asked.messages,
            None if manner.tools == PLAIN else (asked.tool,),
            TurnConfig(
                model=asked.model,
                temperature=asked.temperature if manner.temperature else None,
                max_tokens=asked.max_tokens if manner.max_tokens else None,
                extras={} if manner.max_tokens else {"max_completion_tokens": asked.max_tokens},
                must_call=TOOL_NAME if manner.tools == FORCED else "",
                trace_id=self.trace_id,
                trial=self.trial,
                turn=self.number,
            ),
            backoff=self.bar.backoff_for(asked.adapter),
            clock=self.clock,
            rng=rng,
            price=lambda model, usage: self.bar.price_usd(asked.adapter, model, usage),
            gate=self.gate,
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
