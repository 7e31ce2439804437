"""The adapter that follows a script."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from salvo_core.adapters.protocol import TurnConfig
from salvo_core.adapters.script import FAULTS, Script
from salvo_core.adapters.scripted import HANG_S, Exchanges, ScriptedAdapter
from salvo_core.clock import SystemClock
from salvo_core.errors import (
    ProviderAuthentication,
    ProviderError,
    ProviderPermanent,
    ProviderTransient,
    RateLimited,
)
from salvo_core.trace.model import Message, Usage

MESSAGES = [Message(role="user", content="hello")]


class RecordingClock:
    """Remembers sleeps and takes no time."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return sum(self.slept_s)

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)


def adapter_for(document: Any) -> tuple[ScriptedAdapter, RecordingClock]:
    clock = RecordingClock()
    return ScriptedAdapter(Script.model_validate(document), clock), clock


def asking(**fields: Any) -> TurnConfig:
    return TurnConfig(**({"model": "gpt-4o", "trace_id": "t0"} | fields))


async def test_the_trial_and_the_turn_choose_the_step() -> None:
    adapter, _ = adapter_for({"turns": [{"text": "usual"}], "trials": {3: [{"text": "a"}, {"text": "b"}]}})
    said = [
        (await adapter.send_turn(MESSAGES, None, asking(trial=trial, turn=turn))).content
        for trial, turn in ((0, 0), (3, 0), (3, 1))
    ]
    assert said == ["usual", "a", "b"]


async def test_a_plain_text_stops_and_is_counted_as_the_harness_counts() -> None:
    adapter, _ = adapter_for({"turns": [{"text": "hi"}]})
    reply = await adapter.send_turn(MESSAGES, None, asking())
    assert (reply.finish_reason, reply.usage, reply.model) == (
        "stop",
        Usage(input_tokens=100, output_tokens=50),
        "gpt-4o",
    )
    assert reply.tool_calls == ()


async def test_tool_calls_have_ids_of_their_own_and_may_be_malformed() -> None:
    calls = [{"name": "a", "arguments": {"x": [1]}}, {"name": "b", "malformed": "{oops"}]
    adapter, _ = adapter_for({"turns": [{"tool_calls": calls}, {"tool_calls": calls}]})
    replies = [await adapter.send_turn(MESSAGES, None, asking(turn=turn)) for turn in (0, 1)]
    made = [call for reply in replies for call in reply.tool_calls]
    assert len({call.id for call in made}) == 4
    assert replies[0].finish_reason == "tool_calls"
    assert made[0].arguments == {"x": [1]}
    assert (made[1].malformed, made[1].arguments) == ("{oops", {})


async def test_editing_a_reply_leaves_the_script_as_it_was() -> None:
    adapter, _ = adapter_for({"turns": [{"tool_calls": [{"name": "a", "arguments": {"x": [1]}}]}]})
    first = await adapter.send_turn(MESSAGES, None, asking())
    first.tool_calls[0].arguments["x"].append(2)
    assert (await adapter.send_turn(MESSAGES, None, asking())).tool_calls[0].arguments == {"x": [1]}


async def test_an_error_then_ok() -> None:
    adapter, _ = adapter_for({"turns": [{"error": {"kind": "timeout"}, "text": "ok"}]})
    with pytest.raises(ProviderTransient):
        await adapter.send_turn(MESSAGES, None, asking())
    assert (await adapter.send_turn(MESSAGES, None, asking())).content == "ok"


async def test_concurrent_trials_fail_on_their_own_account() -> None:
    adapter, _ = adapter_for({"turns": [{"error": {"kind": "transient", "times": 1}, "text": "ok"}]})

    async def attempts(trace_id: str) -> list[str]:
        seen = []
        for _ in range(2):
            try:
                seen.append(
                    (await adapter.send_turn(MESSAGES, None, asking(trace_id=trace_id))).content or ""
                )
            except ProviderError as error:
                seen.append(error.kind)
        return seen

    assert await asyncio.gather(*(attempts(f"t{k}") for k in range(20))) == [["transient", "ok"]] * 20


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        ("rate_limited", RateLimited),
        ("transient", ProviderTransient),
        ("permanent", ProviderPermanent),
        ("authentication", ProviderAuthentication),
    ],
)
async def test_each_kind_of_failure_is_raised_as_what_a_client_takes_it_for(
    failure: str, raised: type[ProviderError]
) -> None:
    for kind, shape in FAULTS.items():
        if shape.failure == failure:
            adapter, _ = adapter_for({"turns": [{"error": {"kind": kind}}]})
            with pytest.raises(raised) as caught:
                await adapter.send_turn(MESSAGES, None, asking())
            assert caught.value.status_code == shape.status


async def test_an_error_carries_its_wait_its_status_and_its_bill() -> None:
    error = {
        "kind": "rate_limited",
        "retry_after_s": 2.5,
        "message": "slow down",
        "usage": {"input_tokens": 7},
    }
    adapter, _ = adapter_for({"turns": [{"error": error}]})
    with pytest.raises(RateLimited, match="slow down") as caught:
        await adapter.send_turn(MESSAGES, None, asking())
    assert (caught.value.status_code, caught.value.retry_after_s) == (429, 2.5)
    assert (caught.value.input_tokens, caught.value.output_tokens) == (7, 0)


async def test_latency_is_slept_by_the_clock() -> None:
    adapter, clock = adapter_for({"turns": [{"text": "a", "latency_s": 1.5}]})
    await adapter.send_turn(MESSAGES, None, asking())
    assert clock.slept_s == [1.5]


async def test_a_hang_has_a_bound() -> None:
    adapter, clock = adapter_for({"turns": [{"error": {"kind": "hang"}}]})
    with pytest.raises(ProviderTransient):
        await adapter.send_turn(MESSAGES, None, asking())
    assert clock.slept_s == [HANG_S]


async def test_a_hang_ends_when_the_caller_gives_up() -> None:
    adapter = ScriptedAdapter(Script.model_validate({"turns": [{"error": {"kind": "hang"}}]}), SystemClock())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(adapter.send_turn(MESSAGES, None, asking()), 0.01)


def test_a_turn_that_came_back_is_forgotten_and_a_resumed_trial_sees_the_same() -> None:
    script = Script.model_validate({"turns": [{"error": {"kind": "transient"}, "text": "ok"}]})
    exchanges = Exchanges()
    numbers = [exchanges.play(script, "t", 0, counted_as="t")[0] for _ in range(4)]
    assert numbers == [0, 1, 0, 1]


def test_only_so_many_failing_turns_are_held() -> None:
    script = Script.model_validate({"turns": [{"error": {"kind": "transient", "times": 5}, "text": "ok"}]})
    exchanges = Exchanges(held_max=2)
    for trial in ("a", "b", "c"):
        exchanges.play(script, trial, 0, counted_as=trial)
    assert exchanges.play(script, "c", 0, counted_as="c")[0] == 1
    assert exchanges.play(script, "a", 0, counted_as="a")[0] == 0
