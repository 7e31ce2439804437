"""Conversations with the scripted adapter, of which each test states only what matters to it."""

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime

from salvo_core.adapters.retrying import Backoff
from salvo_core.adapters.script import Script
from salvo_core.adapters.scripted import ScriptedAdapter
from salvo_core.errors import LeaseLost
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Provenance, ScenarioRef, Trace, Usage
from salvo_core.trial.conversation import Part, converse
from salvo_core.trial.limits import Limits

TRACE_ID = "0199c2f4-7b1e-7000-8000-024beebe1b47"


class StepClock:
    """A clock on which waiting takes no time and is remembered, and everybody else runs meanwhile."""

    def __init__(self):
        self.time_s = 0.0
        self.slept = []

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self):
        return self.time_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time_s += seconds
        await asyncio.sleep(0)


class Journal:
    """A hold that keeps turns in memory, in the order of everything that happened.

    Args:
        events: Shared with whoever else reports; gets ("kept", turn index).
        interrupt: (number of questions, answer): from that question on, counted from 0.
        lost_at: The turn whose journaling finds the lease gone.
    """

    def __init__(self, events=None, interrupt=None, lost_at=None):
        self.events = [] if events is None else events
        self.turns = []
        self.asked = 0
        self._interrupt = interrupt
        self._lost_at = lost_at
        self.abandoned = False
        self.under_way = None

    @contextmanager
    def exchange(self, limit):
        self.under_way = limit
        yield

    def interruption(self):
        self.asked += 1
        if self._interrupt and self.asked > self._interrupt[0]:
            return self._interrupt[1]
        return None

    async def keep(self, turn):
        if turn.index == self._lost_at:
            raise LeaseLost("held by another attempt")
        self.turns.append(turn)
        self.events.append(("kept", turn.index))


class Watched:
    """A scripted adapter whose calls are counted and stand in the order of events."""

    name = "watched"

    def __init__(self, script, clock, events):
        self._inner = ScriptedAdapter(Script.model_validate(script), clock)
        self.events = events
        self.seen = []

    async def send_turn(self, messages, tools, config):
        self.events.append(("asked", config.turn))
        self.seen.append((list(messages), tools, config))
        return await self._inner.send_turn(messages, tools, config)

    async def aclose(self):
        pass


def tool(name="look_up", **fields):
    return {"name": name, "description": "", "mock_response": {"found": True}} | fields


def call(name="look_up", **arguments):
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


def price_of(per_token):
    return lambda model, usage: usage.total_tokens * per_token


class Talk:
    """One conversation to be had: script and scenario, what it may use, and everything that happened."""

    def __init__(
        self, turns, *, clock=None, past=(), hold=None, limits=None, price=None, script=None, **fields
    ):
        self.clock = clock or StepClock()
        self.events = hold.events if hold else []
        self.hold = hold or Journal(self.events)
        self.past = tuple(past)
        self.adapter = Watched({"turns": turns, **(script or {})}, self.clock, self.events)
        self.scenario = Scenario.model_validate(
            {"model": "gpt-4o", "prompt": "Go.", "tools": [tool()], **fields}
        )
        scenario = self.scenario
        self.part = Part(
            scenario=scenario,
            model="gpt-4o",
            adapter=self.adapter,
            limits=limits
            or Limits(scenario.max_turns, scenario.timeout_s, scenario.max_tokens, scenario.max_cost_usd),
            backoff=Backoff(retries_max=3, base_s=1.0),
            price=price or price_of(0.001),
            trace_id=TRACE_ID,
            trial=0,
            attempt=1,
            worker="w",
        )

    async def had(self):
        return await converse(self.part, self.past, self.hold, self.clock)

    @property
    def calls(self):
        """How often the provider was asked."""
        return sum(event[0] == "asked" for event in self.events)


def trace(**fields):
    given = {
        "trace_id": TRACE_ID, "run_id": "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111", "index": 0, "cell": 0,
        "trial": 0, "attempt": 1, "scenario": ScenarioRef(digest="0" * 64, name="n"), "model": "gpt-4o",
        "adapter": "scripted", "threshold": 0.8, "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "ended_at": datetime(2026, 1, 1, tzinfo=UTC), "outcome": "completed", "messages": (), "turns": (),
        "usage": Usage(), "cost_usd": None, "latency_s": 0.0, "duration_s": 0.0, "finish_reason": "stop",
        "provenance": Provenance(salvo_version="0", python_version="3", host="h", worker="w"),
    }  # fmt: skip
    return Trace(**(given | fields))
