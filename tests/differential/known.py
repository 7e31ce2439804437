"""Cases of the predecessor's contract on which both must agree, with what it says they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.differential.cases import TOOLS, Case, judge_of, model_of, prompt_leading_to
from tests.differential.deliberate import Outline

_USAGE = {"input_tokens": 100, "output_tokens": 50}
_GOOD, _BAD = {"text": "good", "usage": _USAGE}, {"text": "bad", "usage": _USAGE}
_YES, _NO = {"contains": "good"}, {"contains": "nonesuch"}
_REFUSED = {"error": {"kind": "permanent"}}


@dataclass(frozen=True)
class Known:
    """A case and its outline."""

    case: Case
    comes_to: Outline

    def __str__(self) -> str:
        return self.case.name


def _calls(*names: str) -> dict[str, Any]:
    return {"tool_calls": [{"name": name, "arguments": {}} for name in names], "usage": _USAGE}


def _mixed(*others: list[dict[str, Any]]) -> dict[str, Any]:
    return {"turns": [_GOOD], "variants": [{"weight": 0.3, "turns": turns} for turns in others]}


def _judge(name: str, **more: Any) -> dict[str, Any]:
    criteria = [{"name": "kind", "description": "Is it kind?", "weight": 2}]
    return {"type": "judge", "criteria": criteria, "judge_model": judge_of(name), "k": 3, **more}


def _judging(name: str, score: float) -> dict[str, Any]:
    vote = {"name": "score_criteria", "arguments": {"kind": {"score": score, "reasoning": "so"}}}
    return {judge_of(name): {"turns": [{"tool_calls": [vote], "usage": _USAGE}]}}


def _known(
    name: str,
    comes_to: Outline,
    *,
    turns: list[dict[str, Any]] | None = None,
    script: dict[str, Any] | None = None,
    plays: tuple[int, ...] = (),
    options: tuple[str, ...] = (),
    trials: int = 1,
    judges: dict[str, Any] | None = None,
    **scenario: Any,
) -> Known:
    script = script or {"turns": turns or [_GOOD]}
    prompt = prompt_leading_to(script, plays, f"Case {name}.") if plays else f"Case {name}."
    said = {"model": model_of(name), "prompt": prompt, "assertions": [_YES], **scenario}
    return Known(
        Case(name, said, script, judges or {}, trials=len(plays) or trials, options=options), comes_to
    )


def _trials(verdict: str, code: int, *statuses: str) -> Outline:
    return code, verdict, " ".join(statuses)


_PASS, _FAIL = _trials("PASS", 0, "passed"), _trials("FAIL", 1, "failed")
_THREE_WAYS = _mixed([_BAD], [_REFUSED])

KNOWN: tuple[Known, ...] = (
    _known("t17-no-assertions", _PASS, assertions=[]),
    _known("t18-two-calls-in-one-turn", _PASS, turns=[_calls("look_up", "note"), _GOOD], tools=list(TOOLS)),
    _known(
        "t19-max-turns", _PASS, turns=[_calls("refund")] * 9, tools=list(TOOLS), max_turns=2, assertions=[]
    ),
    _known("t22-unknown-price", _FAIL, assertions=[{"type": "cost_limit", "max_usd": 5}]),
    _known("t24-on-the-threshold", _PASS, assertions=[_YES | {"weight": 4}, _NO]),
    _known(
        "t27-average-decides",
        _trials("PASS", 0, "passed", "passed", "failed"),
        script=_mixed([{"text": "go", "usage": _USAGE}]),
        plays=(-1, -1, 0),
        assertions=[{"contains": "go"}, _YES],
    ),
    _known(
        "t28-required",
        _trials("HARD FAIL", 2, "hard_fail"),
        assertions=[_YES | {"weight": 9}, _NO | {"required": True}],
    ),
    _known("t29-no-weight", _FAIL, assertions=[_YES | {"weight": 0}]),
    _known("t35-expression-that-does-not-parse", _FAIL, assertions=[{"path": "tool_calls[", "eq": 1}]),
    _known("t36-number-of-arguments", _FAIL, assertions=[{"path": "length(turns, turns)", "eq": 1}]),
    _known(
        "t39-once-more",
        _trials("PASS", 0, "passed", "passed"),
        turns=[{**_GOOD, "error": {"kind": "rate_limited", "retry_after_s": 0.01, "times": 1}}],
        trials=2,
    ),
    _known(
        "t41-infrastructure-first",
        _trials("INFRA_ERROR", 3, "hard_fail", "infra_error", "passed"),
        script=_THREE_WAYS,
        plays=(0, 1, -1),
        assertions=[_YES | {"required": True}],
    ),
    _known(
        "t41-allowed-hard-fail",
        _trials("INFRA_ERROR", 2, "hard_fail", "infra_error", "passed"),
        script=_THREE_WAYS,
        plays=(0, 1, -1),
        assertions=[_YES | {"required": True}],
        options=("--allow-infra",),
    ),
    _known(
        "t41-allowed-pass",
        _trials("INFRA_ERROR", 0, "passed", "infra_error", "passed"),
        script=_THREE_WAYS,
        plays=(-1, 1, -1),
        options=("--allow-infra",),
    ),
    _known(
        "t41-allowed-fail",
        _trials("INFRA_ERROR", 1, "passed", "infra_error", "failed"),
        script=_THREE_WAYS,
        plays=(-1, 1, 0),
        options=("--allow-infra",),
    ),
    _known(
        "t41-allowed-but-nothing-graded",
        _trials("INFRA_ERROR", 3, "infra_error", "infra_error"),
        turns=[_REFUSED],
        trials=2,
        options=("--allow-infra",),
    ),
    _known(
        "partial",
        _trials("PARTIAL", 1, "passed", "failed", "failed"),
        script=_mixed([_BAD]),
        plays=(-1, 0, 0),
    ),
    _known(
        "judge-in-favour",
        _trials("PASS", 0, "passed", "passed"),
        assertions=[_judge("judge-in-favour")],
        judges=_judging("judge-in-favour", 0.9),
        trials=2,
    ),
    _known(
        "judge-against",
        _trials("HARD FAIL", 2, "hard_fail"),
        assertions=[_judge("judge-against", required=True), _YES],
        judges=_judging("judge-against", 0.5),
    ),
    _known("threshold-of-the-command-line", _PASS, assertions=[_YES, _NO], options=("--threshold", "0.5")),
)
