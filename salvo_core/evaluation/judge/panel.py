"""Asking: every vote is an exchange of its own with a provider, and is kept before it counts.

Votes are asked for side by side, so many at once over the whole trial, each with its own retries.
A vote that nobody answers, or that cannot be read, is a failed vote and is kept too: it was paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from salvo_core.adapters.gate import OPEN_GATE, Barred, Gate
from salvo_core.adapters.protocol import Adapter
from salvo_core.clock import Clock
from salvo_core.errors import UsageError
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.exchange import Bar, Exchange, Forms
from salvo_core.evaluation.judge.prompt import Brief, Question, question
from salvo_core.trace.model import Judgement, Trace, Vote

__all__ = ["Bar", "Brief", "Forms", "Heard", "Interrupted", "hear", "judges_in", "unrepeated"]

Key = tuple[str, int]
"""A vote's name within a trial: the question's digest, and its number, 0-based."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What judges said about a trial.

    Attributes:
        judgements: One per distinct question, in the order of the scenario, votes by number.
        ballots: By judge assertion, for ``grading.evaluate``.
    """

    judgements: tuple[Judgement, ...]
    ballots: Mapping[Judge, Ballot]


class Interrupted(Exception):
    """A vote was not asked for: ``may_ask`` or the gate said no. Every vote under way was kept first.

    Args:
        judgements: What there is of them: those with any vote at all.
        barred: Why the gate said no, if it was the gate.
    """

    def __init__(self, judgements: tuple[Judgement, ...] = (), barred: Barred | None = None) -> None:
        super().__init__()
        self.judgements = judgements
        self.barred = barred


@dataclass(slots=True)
class _Inquiry:
    """One distinct question, and who wants to know."""

    question: Question
    weights: dict[str, float]
    k: int = 0
    assertions: set[int] = field(default_factory=set)
    votes: dict[int, Vote] = field(default_factory=dict)

    @property
    def judgement(self) -> Judgement:
        asked = self.question
        return Judgement(
            request=asked.request,
            assertions=tuple(sorted(self.assertions)),
            adapter=asked.adapter,
            model=asked.model,
            temperature=asked.temperature,
            max_tokens=asked.max_tokens,
            weights=self.weights,
            votes=tuple(self.votes[number] for number in sorted(self.votes)),
        )


def judges_in(assertions: Sequence[AssertionSpec]) -> list[tuple[int, Judge]]:
    """Return every judge in a scenario's list, inside groups too, with its place in the list, 0-based."""
    return [(place, judge) for place, one in enumerate(assertions) for judge in _judges(one)]


def unrepeated(assertions: Sequence[AssertionSpec], defaults: JudgeDefaults) -> list[tuple[int, Judge]]:
    """Return the judges that are asked for a single vote, so that no majority makes up for a bad one."""
    return [(place, judge) for place, judge in judges_in(assertions) if judge.terms(defaults).k == 1]


def _judges(assertion: AssertionSpec) -> Iterator[Judge]:
    if isinstance(assertion, Judge):
        yield assertion
    for _, member in assertion.members():
        yield from _judges(member)


async def hear(
    trace: Trace,
    assertions: Sequence[AssertionSpec],
    brief: Brief,
    *,
    defaults: JudgeDefaults,
    bar: Bar,
    clock: Clock,
    rng_seed: str,
    attempt: int,
    worker: str,
    past: Mapping[Key, Vote],
    keep: Callable[[str, Vote], Awaitable[None]],
    may_ask: Callable[[], bool],
    at_once_max: int = 8,
    forms: Forms | None = None,
    gate: Gate = OPEN_GATE,
) -> Heard:
    """Return what every judge of a scenario says about a conversation.

    Votes are numbered 0..k-1 per question; assertions that ask the same share them. Failures of
    providers are failed votes, never exceptions.

    Args:
        trace: The conversation as it was; findings and judgements in it are not looked at.
        assertions: The scenario's list.
        brief: What the agent was told.
        defaults: The project's word where an assertion has none.
        bar: Whom to ask through.
        clock: Measures and waits.
        rng_seed: The trace id; waits between tries are drawn from it, and it is sent along.
        attempt: Written into new votes, as is ``worker``.
        worker: This worker's name.
        past: Votes that were kept before, used as they are; each is one exchange less.
        keep: Awaited for each new vote, failed ones too, before it counts; gets the question's digest.
        may_ask: Asked before each vote is begun.
        at_once_max: Votes under way at once, 1 or more.
        forms: What this worker knows of its providers; None starts knowing nothing.
        gate: Asked before each exchange.

    Raises:
        Interrupted: ``may_ask`` or the gate said no.
    """
    # Long conversations are work to put into words: off the loop.
    inquiries, asked = await asyncio.to_thread(_inquiries, trace, assertions, brief, defaults)
    missing = list(_missing(inquiries.values(), past))
    adapters = {name: _adapter(bar, name) for name in {one.question.adapter for one, _ in missing}}
    forms = Forms() if forms is None else forms
    hearing = _Hearing(keep, may_ask, asyncio.Semaphore(at_once_max), {"attempt": attempt, "worker": worker})
    votes = [
        hearing.hear(
            inquiry,
            Exchange(inquiry.question, number, bar, clock, forms, rng_seed, trace.trial, gate),
            adapters[inquiry.question.adapter],
        )
        for inquiry, number in missing
    ]
    try:
        await _together(votes)
    finally:
        await _let_go(adapters.values())
    if hearing.stopped:
        raise Interrupted(tuple(one.judgement for one in inquiries.values() if one.votes), hearing.barred)
    return Heard(
        tuple(inquiry.judgement for inquiry in inquiries.values()),
        {judge: _ballot(judge, inquiries[request], defaults) for judge, request in asked.items()},
    )


@dataclass(slots=True)
class _Hearing:
    """All votes of a trial that are to be asked for, until somebody says that no more may be."""

    keep: Callable[[str, Vote], Awaitable[None]]
    may_ask: Callable[[], bool]
    slots: asyncio.Semaphore
    signed: dict[str, object]
    stopped: bool = False
    barred: Barred | None = None

    async def hear(self, inquiry: _Inquiry, exchange: Exchange, adapter: Adapter | UsageError) -> None:
        async with self.slots:
            if self.stopped or not self.may_ask():
                self.stopped = True
                return
            try:
                vote = await exchange.vote(adapter)
            except Barred as bar:
                self.stopped, self.barred = True, self.barred or bar
                return
            vote = vote.model_copy(update=self.signed)
            await self.keep(inquiry.question.request, vote)
            inquiry.votes[exchange.number] = vote


def _inquiries(
    trace: Trace, assertions: Sequence[AssertionSpec], brief: Brief, defaults: JudgeDefaults
) -> tuple[dict[str, _Inquiry], dict[Judge, str]]:
    """Return each distinct question by its digest, and which one each judge asks."""
    inquiries: dict[str, _Inquiry] = {}
    asked: dict[Judge, str] = {}
    for place, judge in judges_in(assertions):
        terms = judge.terms(defaults)
        put = question(judge, terms, trace, brief)
        inquiry = inquiries.setdefault(put.request, _Inquiry(put, judge.weights))
        inquiry.k = max(inquiry.k, terms.k)
        inquiry.assertions.add(place)
        asked[judge] = put.request
    return inquiries, asked


def _missing(inquiries: Collection[_Inquiry], past: Mapping[Key, Vote]) -> Iterator[tuple[_Inquiry, int]]:
    """Yield the votes that are still to be asked for; those of the past are put where they belong."""
    for inquiry in inquiries:
        for number in range(inquiry.k):
            known = past.get((inquiry.question.request, number))
            if known is None:
                yield inquiry, number
            else:
                inquiry.votes[number] = known


def _ballot(judge: Judge, inquiry: _Inquiry, defaults: JudgeDefaults) -> Ballot:
    terms = judge.terms(defaults)
    return Ballot(
        votes=tuple(inquiry.votes[number] for number in range(terms.k)),
        k=terms.k,
        threshold=terms.threshold,
        weights=judge.weights,
        model=terms.model,
        request=inquiry.question.request,
    )


def _adapter(bar: Bar, name: str) -> Adapter | UsageError:
    try:
        return bar.get(name)
    except UsageError as error:
        return error


async def _let_go(adapters: Collection[Adapter | UsageError]) -> None:
    for adapter in adapters:
        if not isinstance(adapter, UsageError):
            with suppress(Exception):  # a team's own class may raise anything, and the votes are kept
                await adapter.aclose()


async def _together(votes: Sequence[Awaitable[None]]) -> None:
    """Wait for all; when one raises or the caller is cancelled, none is left behind."""
    tasks = [asyncio.ensure_future(vote) for vote in votes]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
