"""A court of pretend judges, of which each test states only what matters to it."""

import json

from salvo_core.adapters.protocol import TurnReply
from salvo_core.adapters.retrying import Backoff
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.judge.panel import Brief, hear
from salvo_core.trace.model import ToolCall, Usage, Vote
from tests.unit.evaluation.builders import trace
from tests.unit.trial.builders import StepClock

TRACE_ID = "0199c2f4-7b1e-7000-8000-024beebe1b47"
BRIEF = Brief("be brief", "go", (("lookup", "finds an order"),))


def judge(*names, **more):
    """The assertion with these criteria; a name may be (name, weight)."""
    criteria = [
        {"name": one, "description": f"is it {one}?"}
        if isinstance(one, str)
        else {"name": one[0], "description": f"is it {one[0]}?", "weight": one[1]}
        for one in names or ("good",)
    ]
    return parse({"type": "judge", "criteria": criteria, **more})


def vote(number=0, error=None, **scores):
    """A vote that scored so, or failed."""
    kind = None if error is None else "unreadable"
    return Vote(number=number, scores=scores, error=error, error_kind=kind)


def ballot(*votes, k=None, threshold=0.8, weights=None):
    """Votes, each a map of scores or the text of an error, in order."""
    made = tuple(
        vote(n, error=one) if isinstance(one, str) else vote(n, **one) for n, one in enumerate(votes)
    )
    names = dict.fromkeys(name for one in made for name in one.scores)
    return Ballot(
        made, k or len(made), threshold, weights or dict.fromkeys(names, 1.0), "sim/judge", "0" * 64
    )


def says(**scores):
    """A judge's tool call with these scores."""
    arguments = {
        name: value if isinstance(value, dict) else {"score": value, "reasoning": f"{name}, as I see it"}
        for name, value in scores.items()
    }
    return TurnReply(
        content=None,
        tool_calls=(ToolCall(id="call_0_0", name="score_criteria", arguments=arguments),),
        usage=Usage(input_tokens=1000, output_tokens=500),
        finish_reason="tool_calls",
        model="sim/judge",
    )


def writes(text):
    """A judge that answers in text; anything but text is written as JSON."""
    said = text if isinstance(text, str) else json.dumps(text)
    return TurnReply(content=said, usage=Usage(input_tokens=1000, output_tokens=500), finish_reason="stop")


class PretendJudge:
    """An adapter that answers the n-th request with the n-th of these replies, the last one for ever.

    Args:
        replies: Replies, errors to raise, or functions of (messages, tools, config) to either.
    """

    def __init__(self, *replies):
        self.name = "pretend"
        self.seen = []
        self.closed = 0
        self._replies = replies

    async def send_turn(self, messages, tools, config):
        reply = self._replies[min(len(self.seen), len(self._replies) - 1)]
        self.seen.append((list(messages), tools, config))
        if callable(reply):
            reply = reply(messages, tools, config)
            if hasattr(reply, "__await__"):
                reply = await reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def aclose(self):
        self.closed += 1


class PretendBar:
    """Adapters by name; prices are those of gpt-4o-mini, or unknown."""

    def __init__(self, *, retries_max=0, priced=True, **adapters):
        self.adapters = adapters
        self.asked_for = []
        self._retries_max = retries_max
        self._priced = priced

    def get(self, name):
        self.asked_for.append(name)
        found = self.adapters[name]
        if isinstance(found, Exception):
            raise found
        return found

    def backoff_for(self, name):
        return Backoff(retries_max=self._retries_max)

    def price_usd(self, name, model, usage):
        cost_usd = usage.input_tokens * 0.15e-6 + usage.output_tokens * 0.6e-6
        return cost_usd if self._priced else None


class Kept(list):
    """What was kept, in order."""

    async def __call__(self, request, vote):
        self.append((request, vote))


async def heard(assertions, adapter=None, *, bar=None, subject=None, past=None, keep=None, **more):
    """What judges say about a small trace."""
    return await hear(
        subject or trace(),
        assertions,
        BRIEF,
        bar=bar or PretendBar(openai=adapter),
        past=past or {},
        keep=Kept() if keep is None else keep,
        **{
            "defaults": JudgeDefaults(),
            "clock": StepClock(),
            "rng_seed": TRACE_ID,
            "attempt": 1,
            "worker": "w1",
            "may_ask": lambda: True,
        }
        | more,
    )
