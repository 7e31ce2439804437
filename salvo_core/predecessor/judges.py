"""What the predecessor kept of its judges, as judgements: scores by criterion and one sum of money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from salvo_core.evaluation.judge.defaults import VOTES_MAX
from salvo_core.evaluation.threshold import reaches
from salvo_core.identity import canonical_json, digest
from salvo_core.trace.model import Judged, Judgement, Vote

NOT_KEPT = "salvo-ai kept no more of it than that it could not be read"
_UNKNOWN_TOKENS = 0


def judgement_of(metadata: Mapping[str, Any], *, place: int, trace_id: str) -> Judgement | None:
    """Return what a judge was asked about one trial, as far as it is known; None if that is nothing.

    The adapter, the temperature and the tokens were not kept. The money was kept as one sum, which
    is dealt out evenly, and as 0 for a model without a known price, which is unknown.

    Args:
        metadata: Of the eval result.
        place: Of the assertion in the scenario's list, 0-based.
        trace_id: Of the trial: no vote was kept in a form that would answer another question.
    """
    criteria = [one for one in _list(metadata.get("per_criterion")) if isinstance(one, Mapping)]
    scores = {str(one.get("name", "")): _scores(one.get("all_scores")) for one in criteria}
    heard = max(map(len, scores.values()), default=0)
    asked = max(_count(metadata.get("judge_k")), heard)
    if not 1 <= asked <= VOTES_MAX:
        return None
    cost = _number(metadata.get("judge_cost_usd"))
    each = cost / asked if cost else None
    votes = []
    for number in range(asked):
        if number < heard:
            # A criterion that some votes left out has fewer scores, and nobody knows whose.
            told = {name: some[number] for name, some in scores.items() if len(some) == heard}
            votes.append(Vote(number=number, scores=told, cost_usd=each))
        else:
            votes.append(Vote(number=number, error=NOT_KEPT, error_kind="unreadable", cost_usd=each))
    return Judgement(
        request=digest(canonical_json(["salvo-ai", trace_id, place])),
        assertions=(place,),
        adapter="unknown",
        model=str(metadata.get("judge_model", ""))[:200],
        temperature=None,
        max_tokens=_UNKNOWN_TOKENS,
        weights={str(one.get("name", "")): _number(one.get("weight")) or 0.0 for one in criteria},
        votes=tuple(votes),
    )


def judged_by(judgement: Judgement, threshold: float) -> Judged:
    """Return what the votes of a judgement came to.

    Args:
        judgement: Of one assertion.
        threshold: The weighted score from which a vote is in favour, 0-1.
    """
    total = math.fsum(judgement.weights.values())
    heard = [vote for vote in judgement.votes if vote.heard]
    means = [
        math.fsum(vote.scores.get(name, 0.0) * weight for name, weight in judgement.weights.items()) / total
        if total > 0
        else 0.0
        for vote in heard
    ]
    return Judged(
        assertion=judgement.assertions[0],
        request=judgement.request,
        k=len(judgement.votes),
        threshold=threshold,
        heard=len(heard),
        in_favour=sum(reaches(mean, threshold) for mean in means),
    )


def _scores(values: Any) -> list[float]:
    numbers = [_number(value) for value in _list(values)]
    return [min(max(number, 0.0), 1.0) for number in numbers if number is not None]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e9:
        return None
    return float(value) if math.isfinite(value) else None
