"""Generated scenarios, every feature of the predecessor dealt out evenly; the same seed, the same ones."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from salvo_cli.simulator.asked import Asked
from salvo_cli.simulator.callers import Callers
from salvo_core.adapters.script import Script

OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "exists", "contains", "regex")
MODES = ("exact", "in_order", "any_order")
KINDS = (
    *(f"jmespath {operator}" for operator in OPERATORS),
    *(f"short {operator}" for operator in OPERATORS if operator != "exists"),
    *(f"tool_sequence {mode}" for mode in MODES),
    "tool_called",
    "output_contains",
    "cost_limit",
    "latency_limit",
    "judge",
)
"""Every assertion type of the predecessor, in every form it can be written in."""

PRICED = ("gpt-4o", "gpt-4o-mini")
"""Models that have a price in both implementations, and a script each in every book."""

TOOLS: tuple[dict[str, Any], ...] = (
    {
        "name": "look_up",
        "description": "Finds an order.",
        "parameters": {"properties": {"id": {"type": "string"}}, "required": ["id"]},
        "mock_response": {"id": "A-1", "total": 42.5, "note": "für dich", "lines": [1, None, True]},
    },
    {"name": "refund", "description": "Pays back.", "mock_response": "refunded 42.50"},
    {"name": "note", "description": "Writes a note.", "mock_response": ""},
)


@dataclass(frozen=True)
class Case:
    """One scenario, what the pretend model does in it, and how it is run.

    Attributes:
        name: Also the name of its files and, unless its model is priced, of its script.
        scenario: What the file says.
        script: Of the model; None when the model is one of PRICED.
        judges: Scripts of the models that judge, by their names.
        trials: ``-n``.
        options: More of the command line, the same for both.
        options_of_predecessor: For it alone.
        project: What ``salvo.yaml`` says beside it.
        file: Which file is run; the scenario's own by default.
    """

    name: str
    scenario: dict[str, Any]
    script: dict[str, Any] | None = None
    judges: dict[str, Any] = field(default_factory=dict)
    trials: int = 1
    options: tuple[str, ...] = ()
    options_of_predecessor: tuple[str, ...] = ()
    project: dict[str, Any] = field(default_factory=dict)
    file: str = "scenario.yaml"

    @property
    def threshold(self) -> float:
        """In force for the run."""
        if "--threshold" in self.options:
            return float(self.options[self.options.index("--threshold") + 1])
        return float(self.scenario.get("threshold", 0.8))

    def __str__(self) -> str:
        return self.name


def model_of(name: str) -> str:
    """Return the name that chooses a case's own script; nobody knows its price."""
    return f"sim/{name}"


def judge_of(name: str, place: int = 0) -> str:
    """Return the name of the model that judges a case's assertion at a place."""
    return f"judge/{name}-{place}"


def prompt_leading_to(script: dict[str, Any], plays: Sequence[int], about: str) -> str:
    """Return a first message with which the trials of a run play these variants, in order.

    The simulator knows a trial by the wording of its first message and by how many with that wording
    it has seen; so another wording is another draw.

    Args:
        script: With variants.
        plays: For each trial, the number of a variant, or -1 for the script's own turns.
        about: What the message says besides.
    """
    parsed = Script.model_validate(script)
    wanted = [parsed.turns if play < 0 else parsed.variants[play].turns for play in plays]
    for attempt in range(100_000):
        prompt = f"{about} ({attempt})"
        callers = Callers()
        asked = Asked(model="", turn=0, opening=prompt)
        if [parsed.plan_for(callers.identify("", asked).trial_key) for _ in plays] == wanted:
            return prompt
    raise ValueError(f"no wording leads to {plays}")


# -- what the pretend models do --------------------------------------------------------------------


def priced_scripts(rng: random.Random) -> dict[str, Any]:
    """Return a script for each model of PRICED: several ways to behave, each with its own cost."""
    return {
        model: {
            "turns": _turns(rng),
            "variants": [{"weight": 0.2, "turns": _turns(rng)} for _ in range(4)],
            "seed": rng.randrange(1000),
        }
        for model in PRICED
    }


def _turns(rng: random.Random) -> list[dict[str, Any]]:
    turns = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        calls = [
            {"name": rng.choice(_NAMES), "arguments": rng.choice(_ARGUMENTS)}
            for _ in range(rng.choice((1, 1, 1, 2)))
        ]
        spoken = {"text": "One moment."} if rng.random() < 0.25 else {}
        turns.append({**spoken, "tool_calls": calls, "usage": _usage(rng)})
    turns.append({"text": rng.choice(_ANSWERS), "usage": _usage(rng)})
    return turns


_NAMES = tuple(str(tool["name"]) for tool in TOOLS)
_ARGUMENTS: tuple[dict[str, Any], ...] = ({}, {"id": "A-1"}, {"n": 2, "deep": [1]})
_ANSWERS = (
    "Refunded 42.50 for order A-1.",
    "42",
    "I cannot do that.",
    "",
    "Größe: 7\nand a second line",
    "10",
)


def _usage(rng: random.Random) -> dict[str, int]:
    return {"input_tokens": rng.choice((1, 100, 333, 1000)), "output_tokens": rng.choice((0, 1, 50, 777))}


def _script(rng: random.Random) -> dict[str, Any]:
    script: dict[str, Any] = {"turns": _turns(rng), "seed": rng.randrange(1000)}
    if rng.random() < 0.75:
        script["variants"] = [
            {"weight": rng.choice((0.2, 0.35, 0.5)), "turns": _turns(rng)} for _ in range(rng.choice((1, 2)))
        ]
    trouble = rng.random()
    if trouble < 0.1:
        # Not a key that is refused: that pauses our run, and everybody who asks the same provider waits.
        refused = {"kind": "permanent", "status": rng.choice((400, 404))}
        script["variants"] = [{"weight": 0.4, "turns": [{"error": refused}]}]
    elif trouble < 0.2:
        # Without variants: a first turn that is tried again is a new trial to the simulator.
        script.pop("variants", None)
        script["turns"][0]["error"] = {
            "kind": rng.choice(("rate_limited", "transient")),
            "retry_after_s": 0.01,
            "times": 1,
        }
    return script


# -- what is asked of them -------------------------------------------------------------------------

_NUMBERS = ("metadata.turn_count", "length(tool_calls)", "metadata.total_tokens", "tool_calls[0].arguments.n")
_TEXTS = (
    "response.content",
    "tool_calls[0].name",
    "turns[-1].role",
    "turns[?role=='tool_result'] | [0].content",
    "turns[?role=='tool_result'] | [0].tool_name",
    "metadata.provider",
    "metadata.model",
    "metadata.finish_reason",
    "response.finish_reason",
    "turns[0].content",
)
_OTHERS = (
    "tool_calls[].name",
    "tool_calls[?name=='refund']",
    "tool_calls[?name=='refund'] | [0]",
    "tool_calls[0].arguments",
    "turns[].role",
    "turns[?tool_calls] | [0].tool_calls[0].name",
    "metadata.nonesuch",
    "metadata.cost_usd",
    "tool_calls[",
)
_VALUES: dict[str, tuple[Any, ...]] = {
    "eq": (1, 2, "42", "stop", "look_up", True, None, ["look_up"], {"id": "A-1"}, "assistant"),
    "ne": (1, "42", "refund", None, []),
    "gt": (0, 1, "1", 100, "many"),
    "gte": (1, 2, "2", 0.5),
    "lt": (2, 3, "10", 42),
    "lte": (1, 2, 5000, None),
    "contains": ("4", 42, "Refunded", "look_up", "", "fü", 1, None),
    "regex": (r"^\d+$", "refund", "(?i)REFUND", "[bad", "Größe", r"^1$", ".", 4),
}


def _assertion(kind: str, rng: random.Random) -> dict[str, Any]:
    family, _, operator = kind.partition(" ")
    match family:
        case "jmespath":
            asked = {"type": "jmespath", "expression": _path(operator, rng), "operator": operator}
            return asked if operator == "exists" else {**asked, "value": rng.choice(_VALUES[operator])}
        case "short":
            path = {} if rng.random() < 0.3 else {"path": _path(operator, rng)}
            return {**path, operator: rng.choice(_VALUES[operator])}
        case "tool_sequence":
            sequence = rng.choices(_NAMES, k=rng.choice((0, 1, 1, 2, 2, 3)))
            return {"type": "tool_sequence", "mode": operator, "sequence": sequence}
        case "tool_called":
            return {"type": "tool_called", "tool": rng.choice((*_NAMES, "nobody", "it's"))}
        case "output_contains":
            return {"type": "output_contains", "value": rng.choice(("4", 42, "Refunded", "nonesuch", True))}
        case "cost_limit":
            return {"type": "cost_limit", "max_usd": rng.choice((0, 0.0005, 0.005, 0.01, 1))}
        case _:
            return {"type": "latency_limit", "max_seconds": rng.choice((0, 60, 3600))}


_CRITERIA = (
    {"name": "kind", "description": "Is it kind?"},
    {"name": "true", "description": "Is everything true?"},
    {"name": "brief", "description": "No word too many; für sich."},
)


def _judge(name: str, place: int, rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an assertion that a model of its own decides, and that model's script.

    Its votes are all alike: the two implementations ask in words of their own, and a draw of the
    simulator hangs on the words.
    """
    criteria = [
        {**criterion, "weight": rng.choice((0.5, 1, 1, 2, 3))}
        for criterion in rng.sample(_CRITERIA, rng.choice((1, 2, 3)))
    ]
    assertion: dict[str, Any] = {
        "type": "judge",
        "criteria": criteria,
        "judge_model": judge_of(name, place),
        "k": rng.choice((1, 2, 3)),
    }
    if rng.random() < 0.6:
        assertion["threshold"] = rng.choice((0.25, 0.5, 0.75, 0.9, 1.0))
    if rng.random() < 0.3:
        assertion["include_system_prompt"] = True
    if rng.random() < 0.2:
        assertion["custom_prompt"] = "You are strict."
    return assertion, {"turns": [_vote(criteria, rng)]}


def _vote(criteria: Sequence[dict[str, Any]], rng: random.Random) -> dict[str, Any]:
    scored = criteria if rng.random() < 0.85 else criteria[:1]  # a judge may leave one out
    scores = {
        str(criterion["name"]): {"score": rng.choice((0, 0.25, 0.5, 0.75, 0.8, 1)), "reasoning": "so"}
        for criterion in scored
    }
    usage = {"input_tokens": 100, "output_tokens": 20}
    form = rng.random()
    if form < 0.6:
        return {"tool_calls": [{"name": "score_criteria", "arguments": scores}], "usage": usage}
    text = json.dumps(scores)
    if form > 0.8:
        text = f"My verdict follows.\n```json\n{text}\n```" if form > 0.9 else f"I say {text}"
    return {"text": text, "usage": usage}


def _path(operator: str, rng: random.Random) -> str:
    near = _NUMBERS if operator in ("gt", "gte", "lt", "lte") else _TEXTS
    return rng.choice(rng.choice((near, near, _NUMBERS, _TEXTS, _OTHERS)))


def _threshold(assertions: Sequence[dict[str, Any]], rng: random.Random) -> float:
    """Return a threshold; often exactly what some of the weights come to, as a person would reckon it."""
    weights = [Fraction(str(assertion.get("weight", 1))) for assertion in assertions]
    if rng.random() < 0.6 and any(weights):
        reached = [weight for weight in weights if rng.random() < 0.6]
        return float(sum(reached, Fraction()) / sum(weights, Fraction()))
    return rng.choice((0.0, 0.25, 0.5, 0.8, 1.0))


def generated(seed: int, count: int) -> Iterator[Case]:
    """Yield cases; the kinds of assertions and the numbers of trials come round evenly."""
    rng = random.Random(seed)
    deck: list[str] = []
    for number in range(count):
        name = f"g{seed}-{number:03d}"
        assertions = []
        judges: dict[str, Any] = {}
        for place in range(0 if number == 0 else rng.choice((1, 2, 2, 3, 4))):
            deck = deck or rng.sample(KINDS, len(KINDS))
            kind = deck.pop()
            if kind == "judge":
                assertion, judges[judge_of(name, place)] = _judge(name, place, rng)
            else:
                assertion = _assertion(kind, rng)
            assertions.append(assertion | _weighing(rng))
        priced = any(assertion.get("type") == "cost_limit" for assertion in assertions) or rng.random() < 0.15
        scenario: dict[str, Any] = {
            "adapter": "openai",
            "model": rng.choice(PRICED) if priced else model_of(name),
            "prompt": f"Case {name}: help me with order A-1, für mich.",
            "tools": list(TOOLS),
            "assertions": assertions,
            **_extras(rng),
        }
        options: tuple[str, ...] = ()
        bar = _threshold(assertions, rng)
        if rng.random() < 0.2:
            options = ("--threshold", repr(bar))
        elif rng.random() < 0.85:
            scenario["threshold"] = bar
        if rng.random() < 0.2:
            options += ("--allow-infra",)
        script = None if priced else _script(rng)
        yield Case(name, scenario, script, judges, 1 + number % 5, options)


def _weighing(rng: random.Random) -> dict[str, Any]:
    weight = {"weight": rng.choice((0, 0.1, 0.2, 0.5, 0.7, 2, 3, 10))} if rng.random() < 0.6 else {}
    return weight | ({"required": True} if rng.random() < 0.12 else {})


def _extras(rng: random.Random) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if rng.random() < 0.4:
        said["max_turns"] = rng.choice((1, 1, 2, 3, 100))
    if rng.random() < 0.4:
        said["system_prompt"] = "Be brief; ß."
    if rng.random() < 0.3:
        said["temperature"] = rng.choice((0, 0.7, 2))
    if rng.random() < 0.2:
        said["seed"] = rng.randrange(10_000)
    if rng.random() < 0.2:
        said["extras"] = {"top_p": 0.9, "max_tokens": 500}
    if rng.random() < 0.3:
        said["description"] = "A described case"
        said["tags"] = {"team": "refunds"}
    return said
