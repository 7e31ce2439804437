"""Patience with a turn."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.adapters.gate import OPEN_GATE, Asking, Barred, Cost, Entry, Gate, OpenGate
from salvo_core.adapters.prices import PriceTable
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.retrying import AnsweredTurn, Backoff, TurnFailed, send_with_retries
from salvo_core.errors import (
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)
from salvo_core.trace.model import Message, Retry, Usage
from tests.unit.adapters.conftest import InstantClock
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry

ASK = [Message(role="user", content="hi")]
PAID = Usage(input_tokens=1000, output_tokens=500)
GOOD = TurnReply("ok", usage=PAID)


class Played:
    """Raises or returns what it is told, in order; the last one again and again."""

    name = "played"

    def __init__(self, *outcomes: TurnReply | Exception, clock: InstantClock | None = None) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[Sequence[Message]] = []
        self._clock = clock

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        self.asked.append(messages)
        if self._clock:
            self._clock.time_s += 2.0
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self) -> None: ...


async def take(
    adapter: Played,
    clock: InstantClock,
    *,
    backoff: Backoff | None = None,
    deadline_s: float | None = None,
    model: str = "gpt-4o",
    gate: Gate = OPEN_GATE,
) -> AnsweredTurn:
    return await send_with_retries(
        adapter,
        ASK,
        None,
        TurnConfig(model),
        backoff=backoff or Backoff(),
        clock=clock,
        rng=random.Random(1),
        price=PriceTable(provider_id="openai").price_usd,
        deadline_s=deadline_s,
        gate=gate,
    )


async def test_a_turn_that_comes_back_costs_no_wait(clock: InstantClock) -> None:
    turn = await take(Played(GOOD, clock=clock), clock)
    assert turn == AnsweredTurn(GOOD, (), 2.0, 0.0075)
    assert clock.slept == []


async def test_only_the_turn_is_asked_again_and_its_latency_is_that_of_the_last_exchange(
    clock: InstantClock,
) -> None:
    adapter = Played(TimeoutError("slow"), GOOD, clock=clock)
    turn = await take(adapter, clock)
    assert adapter.asked == [ASK, ASK]
    [retry] = turn.retries
    assert (retry.kind, retry.message) == ("transient", "TimeoutError: slow")
    assert retry.waited_s == pytest.approx(clock.slept[0], abs=1e-6)
    assert turn.latency_s == 2.0


class Turnstile(OpenGate):
    """Keeps everybody waiting after a failure; bars the way after ``opens`` entries, if it says so."""

    def __init__(self, clock: InstantClock, *, opens: int = 9) -> None:
        self._clock = clock
        self._left = opens
        self._wait_s = 0.0

    async def enter(self, asking: Asking) -> Entry:
        self._clock.time_s += self._wait_s
        if not self._left:
            raise Barred("patience", "others have the place")
        self._left -= 1
        return Entry(waited_s=self._wait_s)

    async def failed(self, entry: Entry, error: ProviderError, cost: Cost) -> bool:
        self._clock.time_s += 0.5  # a question to Redis takes its time, too
        self._wait_s = 7.0
        return True


async def test_a_wait_before_the_gate_stands_in_the_trace_as_one_that_was_slept_does(
    clock: InstantClock,
) -> None:
    adapter = Played(RateLimited("slow down", retry_after_s=7.0), GOOD, clock=clock)
    turn = await take(adapter, clock, gate=Turnstile(clock))
    assert [retry.waited_s for retry in turn.retries] == [7.5]
    assert turn.latency_s == 2.0
    assert not any(clock.slept)


async def test_whoever_is_barred_after_a_wait_says_how_long_it_was(clock: InstantClock) -> None:
    adapter = Played(RateLimited("slow down"), clock=clock)
    with pytest.raises(Barred) as barred:
        await take(adapter, clock, gate=Turnstile(clock, opens=1))
    assert [retry.waited_s for retry in barred.value.retries] == [7.5]


async def test_t40_always_rate_limited_is_exactly_four_calls_with_doubling_ranges(
    clock: InstantClock,
) -> None:
    for seed in range(50):
        clock.slept.clear()
        adapter = Played(RateLimited("busy", status_code=429))
        with pytest.raises(TurnFailed) as failed:
            await send_with_retries(
                adapter,
                ASK,
                None,
                TurnConfig("m"),
                backoff=Backoff(),
                clock=clock,
                rng=random.Random(seed),
                price=lambda model, usage: None,
            )
        assert len(adapter.asked) == 4
        assert all(0 <= slept <= cap for slept, cap in zip(clock.slept, [1, 2, 4], strict=True))
        assert [retry.waited_s for retry in failed.value.retries] == pytest.approx(
            [*clock.slept, 0.0], abs=1e-6
        )
        assert {(retry.kind, retry.status_code) for retry in failed.value.retries} == {("rate_limited", 429)}


@given(
    retry=st.integers(0, 10_000),
    retry_after_s=st.none() | st.floats(0, 1e9),
    seed=st.integers(0, 2**32),
)
def test_a_wait_is_bounded_and_never_below_what_was_asked_for(
    retry: int, retry_after_s: float | None, seed: int
) -> None:
    backoff = Backoff()
    wait_s = backoff.wait_s(retry, retry_after_s, random.Random(seed))
    asked_s = min(retry_after_s or 0.0, backoff.retry_after_max_s)
    assert asked_s <= wait_s <= asked_s + backoff.cap_s


@pytest.mark.parametrize("error", [ProviderPermanent("no"), ProviderAuthentication("who?"), KeyError("bug")])
async def test_what_will_never_work_is_asked_once(clock: InstantClock, error: Exception) -> None:
    adapter = Played(error)
    with pytest.raises(TurnFailed) as failed:
        await take(adapter, clock)
    assert len(adapter.asked) == 1
    assert clock.slept == []
    assert len(failed.value.retries) == 1


async def test_tokens_billed_for_failures_are_kept_and_priced(clock: InstantClock) -> None:
    billed = ProviderTransient("half", input_tokens=1000, output_tokens=500)
    turn = await take(Played(billed, billed, GOOD), clock)
    assert [retry.usage for retry in turn.retries] == [PAID, PAID]
    assert turn.cost_usd == pytest.approx(3 * 0.0075)
    with pytest.raises(TurnFailed) as failed:
        await take(Played(billed), clock, backoff=Backoff(retries_max=1))
    assert failed.value.cost_usd == pytest.approx(2 * 0.0075)


async def test_an_unknown_price_stays_unknown(clock: InstantClock) -> None:
    assert (await take(Played(GOOD), clock, model="sim/refund-desk")).cost_usd is None
    with pytest.raises(TurnFailed) as failed:
        await take(Played(ProviderPermanent("no")), clock, model="sim/refund-desk")
    assert failed.value.cost_usd is None


async def test_an_alias_has_the_price_of_the_model_that_answered(clock: InstantClock) -> None:
    answered = TurnReply("ok", usage=PAID, model="gpt-4o-mini-2024-07-18")
    assert (await take(Played(answered), clock, model="my-deployment")).cost_usd == pytest.approx(0.00045)
    assert (await take(Played(answered), clock, model="gpt-4o")).cost_usd == pytest.approx(0.0075)


async def test_a_wait_that_would_pass_the_deadline_is_not_begun(clock: InstantClock) -> None:
    adapter = Played(RateLimited("busy", retry_after_s=30.0))
    with pytest.raises(TurnFailed) as failed:
        await take(adapter, clock, deadline_s=20.0)
    assert (len(adapter.asked), clock.slept, failed.value.error.kind) == (1, [], "rate_limited")


async def test_a_failed_turn_says_in_a_trace_what_happened(clock: InstantClock) -> None:
    with pytest.raises(TurnFailed) as failed:
        await take(Played(KeyError("content")), clock)
    error = failed.value.as_trial_error(turn=2)
    assert (error.kind, error.message, error.error_class, error.turn) == (
        "permanent",
        "KeyError: 'content'",
        "KeyError",
        2,
    )
    assert error.retries == (Retry(kind="permanent", message="KeyError: 'content'"),)
    assert error.hint
    with pytest.raises(TurnFailed) as failed:
        await take(Played(ProviderAuthentication("no key", hint="set it")), clock)
    assert failed.value.error_class == "ProviderAuthentication"
    assert failed.value.as_trial_error(0).hint == "set it"


async def test_being_cancelled_is_not_a_failure_to_retry(clock: InstantClock) -> None:
    class Cancelled(Played):
        async def send_turn(self, *given: object) -> TurnReply:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await take(Cancelled(GOOD), clock)
    assert clock.slept == []


async def test_over_a_real_wire_a_rate_limit_then_half_a_body_then_an_answer(
    server: CannedServer, clock: InstantClock
) -> None:
    made = registry(secrets={"OPENAI_BASE_URL": server.url})
    server.plays(
        answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "7"}),
        answer(text='{"choices": [', headers={"content-length": "13"}),
        answer({"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 4}}),
    )
    turn = await send_with_retries(
        made.get("openai"),
        ASK,
        None,
        TurnConfig("gpt-4o"),
        backoff=made.backoff_for("openai"),
        clock=clock,
        rng=random.Random(0),
        price=lambda model, usage: made.price_usd("openai", model, usage),
    )
    await made.aclose()
    assert turn.reply.content == "hi"
    assert [(retry.kind, retry.status_code) for retry in turn.retries] == [
        ("rate_limited", 429),
        ("transient", 200),
    ]
    assert 7.0 <= clock.slept[0] <= 8.0
    assert 0.0 <= clock.slept[1] <= 2.0
    assert [seen.body for seen in server.seen] == [server.seen[0].body] * 3


def test_every_kind_of_provider_error_can_stand_in_a_trace() -> None:
    for kind in (ProviderError, RateLimited, ProviderTransient, ProviderPermanent, ProviderAuthentication):
        TurnFailed(kind("x"), (), None).as_trial_error(0)
