"""Every difference from the predecessor that is meant, in one table, each with its reason.

Three are rules that hold for any run (``corrected``); the others are scenarios of their own, with
what the predecessor makes of them and what we do. The numbers in ``source`` are those of the
predecessor's contract: test cases (T..), its list of bugs (10.x), its sections (§).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.differential.cases import TOOLS, Case, judge_of, model_of
from tests.differential.observed import Observed

Outline = tuple[int, str | None, str]
"""Exit code, verdict (None: the run was refused before anything was asked), statuses of the trials."""

REFUSED: Outline = (64, None, "")
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Deliberate:
    """One line of the table.

    Attributes:
        name: A few words.
        source: Where it is asked for.
        reason: Why ours is right.
        case: A scenario that shows it; None for a rule.
        predecessor: What it makes of the case.
        ours: What we make of it.
    """

    name: str
    source: str
    reason: str
    case: Case | None = None
    predecessor: Outline = (0, None, "")
    ours: Outline = (0, None, "")

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


ROUNDING = Deliberate(
    "rounding",
    "T25, T26",
    "0.7 + 0.1 of weight 1.0 is 0.7999999999999999 to a computer; whoever writes `threshold: 0.8` means it "
    "to pass. A score or an average 1e-9 below the threshold reaches it.",
)
NOTHING_PASSED = Deliberate(
    "nothing passed",
    "T29, 10.28",
    "A run of which no trial passed is no PASS, also where the threshold is 0.",
)
PERCENTILES = Deliberate(
    "percentiles",
    "T30",
    "The predecessor extrapolates beyond the scores (p95 of 1, 0, 0 is 1.8); ours stays within them.",
)


def corrected(case: Case, old: Observed) -> tuple[Observed, list[Deliberate]]:
    """Return what the predecessor's result becomes by the rules, and the rules that changed something."""
    by: list[Deliberate] = []
    if not old.trials:
        return old, by
    want = _rounded(case, old)
    if want.trials != old.trials:
        by.append(ROUNDING)
    scored = [trial for trial in want.trials if trial.score is not None]
    mean = want.score_mean
    if not scored or mean is None:
        return want, by
    passed = sum(trial.status == "passed" for trial in scored)
    want = replace(want, pass_rate=passed / len(scored))
    hard = any(trial.status == "hard_fail" for trial in scored)
    reached = mean >= case.threshold - _TOLERANCE
    verdict = "HARD FAIL" if hard else "PASS" if reached and passed else "PARTIAL" if passed else "FAIL"
    code = {"PASS": 0, "HARD FAIL": 2}.get(verdict, 1)
    infra = want.verdict == "INFRA_ERROR"
    if not infra:
        want = replace(want, verdict=verdict)
    if not infra or "--allow-infra" in case.options:
        want = replace(want, exit_code=code)
    if (want.verdict, want.exit_code) != (old.verdict, old.exit_code):
        by.append(ROUNDING if reached and passed else NOTHING_PASSED)
    within = _within(want, [trial.score or 0.0 for trial in scored])
    if within != want:
        by.append(PERCENTILES)
    return within, by


def _rounded(case: Case, old: Observed) -> Observed:
    bar = case.threshold
    trials = tuple(
        replace(trial, status="passed")
        if trial.status == "failed" and bar - _TOLERANCE <= (trial.score or 0.0) < bar
        else trial
        for trial in old.trials
    )
    return replace(old, trials=trials)


def _within(seen: Observed, scores: Sequence[float]) -> Observed:
    def bounded(value: float | None) -> float:
        return min(max(value or 0.0, min(scores)), max(scores))

    return replace(seen, score_p50=bounded(seen.score_p50), score_p95=bounded(seen.score_p95))


# -- scenarios of their own ------------------------------------------------------------------------

_USAGE = {"input_tokens": 100, "output_tokens": 50}
_GOOD = {"turns": [{"text": "good", "usage": _USAGE}]}
_YES, _NO = {"contains": "good"}, {"contains": "nonesuch"}


def _calling(name: str, **call: Any) -> dict[str, Any]:
    calls = [{"name": name, **call}]
    return {"turns": [{"tool_calls": calls, "usage": _USAGE}, {"text": "good", "usage": _USAGE}]}


_OF_THE_RUN = ("judges", "trials", "options", "options_of_predecessor", "project", "file")


def _case(name: str, script: dict[str, Any] | None = None, **more: Any) -> Case:
    run = {key: more.pop(key) for key in _OF_THE_RUN if key in more}
    scenario = {"model": model_of(name), "prompt": f"Case {name}.", "assertions": [_YES], **more}
    scenario = {key: value for key, value in scenario.items() if value is not ...}
    return Case(name, scenario, script or _GOOD, **run)


def _jmespath(expression: str, operator: str = "exists", **more: Any) -> dict[str, Any]:
    return {"type": "jmespath", "expression": expression, "operator": operator, **more}


_IN_FAVOUR = {"kind": {"score": 1, "reasoning": "so"}}


def _judged(
    name: str,
    scores: dict[str, Any] | None = None,
    *,
    criteria: list[dict[str, Any]] | None = None,
    more: Sequence[dict[str, Any]] = (),
    **turn: Any,
) -> Case:
    """Return a case that one judge decides, which gives these scores, or answers with another turn."""
    if scores is not None:
        turn["tool_calls"] = [{"name": "score_criteria", "arguments": scores}]
    asked = [{"name": "kind", "description": "d", "weight": 1}] if criteria is None else criteria
    assertion = {"type": "judge", "criteria": asked, "judge_model": judge_of(name), "k": 1}
    judges = {judge_of(name): {"turns": [turn]}}
    return _case(name, judges=judges, assertions=[assertion, *more])


_PASSED: Outline = (0, "PASS", "passed")
_INFRA: Outline = (3, "INFRA_ERROR", "infra_error")
_FAILED: Outline = (1, "FAIL", "failed")
_BEFORE_A_CENT = "A mistake in a scenario is told, with its place, before a cent is spent."
_EXIT_64 = "64 tells a script that the scenario is wrong; 1 says that the agent is."

ONE_BY_ONE: tuple[Deliberate, ...] = (
    # Scores and verdicts
    Deliberate(
        "score that rounding put below", "T25", ROUNDING.reason,
        _case("t25", assertions=[_YES | {"weight": 0.7}, _YES | {"weight": 0.1}, _NO | {"weight": 0.2}]),
        _FAILED, _PASSED,
    ),
    Deliberate(
        "average that rounding put below", "T26", ROUNDING.reason,
        _case("t26", assertions=[_YES | {"weight": 7}, _NO | {"weight": 3}], threshold=0.7, trials=3),
        (1, "PARTIAL", "passed passed passed"), (0, "PASS", "passed passed passed"),
    ),
    Deliberate(
        "no weight at a threshold of 0", "T29, 10.28", NOTHING_PASSED.reason,
        _case("t29", assertions=[_YES | {"weight": 0}], threshold=0),
        (0, "PASS", "failed"), _FAILED,
    ),
    Deliberate(
        "negative weight", "§6.6", "It pushes a score above 1 (here 2.0); there is nothing it could mean.",
        _case("negative", assertions=[_YES | {"weight": 2}, _NO | {"weight": -1}]),
        _PASSED, REFUSED,
    ),
    # Queries that go wrong
    *(
        Deliberate(
            f"query that fails: {about}", "T36, 10.2, 10.15",
            "A wrong query is the scenario's mistake: the assertion fails and says why, and the paid "
            "trace and its cost are kept.",
            _case(f"t36-{number}", assertions=[_jmespath(expression)]),
            _INFRA, _FAILED,
        )
        for number, (about, expression) in enumerate(
            [
                ("type of an argument", "length(metadata.turn_count)"),
                ("unknown function", "frobnicate(@)"),
                ("nothing asked", ""),
            ]
        )
    ),
    # What a model does wrong
    Deliberate(
        "call of a tool without an answer", "T20, 10.3",
        "It is answered to the agent as a tool error and stands in the trace; the conversation goes on.",
        _case("t20", _calling("mute"), tools=[{"name": "mute", "description": "d"}]),
        _INFRA, _PASSED,
    ),
    Deliberate(
        "call of a tool that does not exist", "T20, 10.3",
        "As above; `unknown_tool: fail` makes it the end of the trial and a failure.",
        _case("invented", _calling("invented"), tools=list(TOOLS)),
        _INFRA, _PASSED,
    ),
    Deliberate(
        "arguments that are no JSON", "10.32", "As above: models do send such, and it is their mistake.",
        _case("malformed", _calling("refund", malformed="{broken"), tools=list(TOOLS)),
        _INFRA, _PASSED,
    ),
    # Scenarios that cannot mean what they say
    Deliberate(
        "unknown assertion type", "T09", _BEFORE_A_CENT,
        _case("t09", assertions=[{"type": "tool_calld", "tool": "x"}]), _INFRA, REFUSED,
    ),
    Deliberate(
        "parameter of a sugared assertion missing", "T10", _BEFORE_A_CENT,
        _case("t10", assertions=[{"type": "tool_called"}]), (1, None, ""), REFUSED,
    ),
    *(
        Deliberate(
            f"parameter missing: {missing}", "§6", _BEFORE_A_CENT,
            _case(f"missing-{number}", assertions=[assertion]), _INFRA, REFUSED,
        )
        for number, (missing, assertion) in enumerate(
            [
                ("sequence", {"type": "tool_sequence", "mode": "exact"}),
                ("max_usd", {"type": "cost_limit"}),
                ("max_seconds", {"type": "latency_limit"}),
                ("expression", {"type": "jmespath", "operator": "exists"}),
                ("operator", {"type": "jmespath", "expression": "response"}),
            ]
        )
    ),
    Deliberate(
        "value of a comparison missing", "§6", "Compared with nothing it fails always. " + _BEFORE_A_CENT,
        _case("missing-value", assertions=[_jmespath("metadata.turn_count", "eq")]), _FAILED, REFUSED,
    ),
    Deliberate(
        "sequence without a mode", "§6", "The strictest mode is the default.",
        _case("no-mode", assertions=[{"type": "tool_sequence", "sequence": []}]), _INFRA, _PASSED,
    ),
    Deliberate(
        "misspelt key of a short form", "T11", "`wieght: 3` was dropped silently. " + _BEFORE_A_CENT,
        _case("t11", assertions=[_YES | {"wieght": 3}]), _PASSED, REFUSED,
    ),
    Deliberate(
        "misspelt key of a sugared assertion", "T11", "As above.",
        _case("t11-sugar", assertions=[{"type": "output_contains", "value": "good", "wieght": 3}]),
        _PASSED, REFUSED,
    ),
    Deliberate(
        "unknown operator", "T34", "It can never hold. " + _BEFORE_A_CENT,
        _case("frob", assertions=[_jmespath("response.content", "frob", value=1)]), _FAILED, REFUSED,
    ),
    Deliberate(
        "two tools of one name", "§1.2", "The second mock won silently. " + _BEFORE_A_CENT,
        _case("twice", tools=[TOOLS[1], TOOLS[1]]), _PASSED, REFUSED,
    ),
    Deliberate(
        "empty prompt", "§1.1", "There is nothing to test. " + _BEFORE_A_CENT,
        _case("no-prompt", prompt=""), _PASSED, REFUSED,
    ),
    Deliberate(
        "extras that replace what was asked", "10.32",
        "They may add parameters, not ask another model than the report names.",
        _case("extras-model", {"turns": [{"text": "bad"}]}, extras={"model": model_of("t25")}),
        _PASSED, REFUSED,
    ),
    Deliberate(
        "secret in extras under another name", "10.13", "Only exact names were caught; extras are stored.",
        _case("extras-key", extras={"metadata": {"my_token": "x"}}), _PASSED, REFUSED,
    ),
    # Exit codes and options
    *(
        Deliberate(f"exit code of {about}", "§9", _EXIT_64, case, (1, None, ""), REFUSED)
        for about, case in [
            ("a scenario that is wrong", _case("t03", threshold="high")),
            ("a scenario file that is not there", _case("absent", file="absent.yaml")),
            ("blocked extras", _case("t16", extras={"API_KEY": "x"})),
            ("a project file that is wrong", _case("t70", project={"judge": {"k": 22}})),
        ]
    ),
    Deliberate(
        "adapter that is not known here", "T48, §3.5",
        "Providers are the workers' own, so no command line can know them all: it warns, the worker refuses "
        "without a call, and that is infrastructure.",
        _case("t48", adapter="foo"), (1, None, ""), _INFRA,
    ),
    Deliberate(
        "no trials at all", "T45, 10.28", "A run of nothing is a mistake; it exits 64 and leaves no record.",
        _case("t45", trials=0), (1, "FAIL", ""), REFUSED,
    ),
    Deliberate(
        "threshold that nothing can reach", "10.28", "It is a share: 0 to 1.",
        _case("threshold-5", options=("--threshold", "5")), _FAILED, REFUSED,
    ),
    Deliberate(
        "exit code with --json", "T46, 10.1",
        "The predecessor breaks after it has printed; ours exits by the verdict.",
        _case("t46", options_of_predecessor=("--json",)), (1, "PASS", "passed"), _PASSED,
    ),
    # Judges
    Deliberate(
        "judge that answers with bare numbers", "T52, 10.22",
        "`{kind: 0.9}` says what it says; the predecessor counted such a vote as heard and its score as 0.",
        _judged("t52-bare", {"kind": 0.9}), _FAILED, _PASSED,
    ),
    Deliberate(
        "criterion without a weight", "T54", "A weight is 1 unless it is said.",
        _judged("t54-weight", _IN_FAVOUR, criteria=[{"name": "kind", "description": "d"}]), _INFRA, _PASSED,
    ),
    Deliberate(
        "judge without criteria", "T54", "It was paid and could not answer. " + _BEFORE_A_CENT,
        _judged("t54-none", _IN_FAVOUR, criteria=[]), _FAILED, REFUSED,
    ),
    Deliberate(
        "score out of range in a judge's text", "T51, 10.22", "It counts as 1; the predecessor counted 5.",
        _judged(
            "t51", text='{"kind": {"score": 5, "reasoning": "very"}}', more=[_NO | {"weight": 3}],
        ),
        _PASSED, _FAILED,
    ),
    *(
        Deliberate(
            f"judge that {about}", "T49, 10.22",
            "A judge that cannot be heard says nothing about the agent: an assertion without a quorum is an "
            "error, and where nothing else is left to score by, the trial is infrastructure's.",
            case, _FAILED, _INFRA,
        )
        for about, case in [
            ("says nothing that can be read", _judged("t49-unread", text="I could not say.")),
            ("cannot be asked", _judged("t49-refused", error={"kind": "permanent"})),
        ]
    ),
    # The project file, and prices
    Deliberate(
        "default model of the project", "10.27", "`default_model` of salvo.yaml did nothing; it counts now.",
        _case("default-model", model=..., project={"default_model": model_of("default-model")}),
        (1, None, ""), _PASSED,
    ),
    Deliberate(
        "price of a model the predecessor does not know", "§4.4",
        "Prices come from a maintained table; an unknown one is still unknown and fails a cost limit.",
        Case(
            "gpt-4.1-mini",
            {
                "model": "gpt-4.1-mini",
                "prompt": "Case priced.",
                "assertions": [{"type": "cost_limit", "max_usd": 5}],
            },
            _GOOD,
        ),
        _FAILED, _PASSED,
    ),
)  # fmt: skip

TABLE: tuple[Deliberate, ...] = (ROUNDING, NOTHING_PASSED, PERCENTILES, *ONE_BY_ONE)
