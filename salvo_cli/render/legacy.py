"""The predecessor's suite document for one cell, so that scripts which read it need no change.

Same keys, same order, same meaning, with the corrections that the predecessor's users
were owed: percentiles stay within the data, retries are those that happened, an
infrastructure error's retries and cost are its own. What has no word in its vocabulary is left
out: trials that were cancelled, skipped or have not ended are no results, and a cell that
they leave open is judged, as there, by the results obtained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from salvo_core.evaluation.judge.ballot import Ballot
from salvo_core.evaluation.judge.counting import count
from salvo_core.manifest.rows import SCORED, Result, Row
from salvo_core.run.failures import Failure
from salvo_core.run.plan import Plan
from salvo_core.run.stopping import Stop
from salvo_core.run.summary import CellSummary
from salvo_core.run.verdict import Verdict, cell_verdict
from salvo_core.trace.model import Finding, Trace

EXPRESSION_LENGTH_MAX = 80
SAMPLES_MAX = 3
_OBTAINED = SCORED | {"infra_error"}
_TRANSIENT = ("rate_limited", "transient")
_WAS_JMESPATH = ("tool_called", "output_contains")
"""Types that the predecessor turned into jmespath assertions before it ran them."""


def obtained(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that are results in the predecessor's sense, in trial order."""
    return [row for row in rows if row.status in _OBTAINED and row.result is not None]


def suite(
    run_id: str, cell: CellSummary, plan: Plan, rows: Sequence[Row], traces: Mapping[str, Trace]
) -> dict[str, Any]:
    """Return the document.

    Args:
        run_id: Of the run.
        cell: The one cell.
        plan: Of the run.
        rows: The cell's rows in index order.
        traces: By trace id; a trial whose trace is not among them has no ``eval_results``.
    """
    results = obtained(rows)
    counts = {status: sum(row.status == status for row in results) for status in sorted(_OBTAINED)}
    trials = [_trial(plan.trial_index(row.index) + 1, row, traces.get(row.trace_id)) for row in results]
    spent, latency = cell.cost.total_usd, cell.duration_s
    return {
        "run_id": run_id,
        "scenario_name": cell.scenario_name,
        "scenario_file": cell.scenario_file,
        "model": cell.model,
        "adapter": cell.adapter,
        "trials": trials,
        "trials_total": len(results),
        "trials_passed": counts["passed"],
        "trials_failed": counts["failed"],
        "trials_hard_fail": counts["hard_fail"],
        "trials_infra_error": counts["infra_error"],
        "verdict": _verdict(cell, results),
        "pass_rate": cell.pass_rate,
        "score_avg": cell.score.mean,
        "score_min": cell.score.min,
        "score_p50": cell.score.p50,
        "score_p95": cell.score.p95,
        "threshold": cell.threshold,
        "cost_total": spent,
        "cost_avg_per_trial": None if spent is None or not cell.scored else spent / cell.scored,
        "judge_cost_total": cell.judge_cost.total_usd,
        "latency_p50": latency.p50 if latency else None,
        "latency_p95": latency.p95 if latency else None,
        "total_retries": sum(trial["retries_used"] for trial in trials),
        "trials_with_retries": sum(trial["retries_used"] > 0 for trial in trials),
        "early_stopped": cell.early_stop is not None,
        "early_stop_reason": _early_stop_reason(cell.early_stop),
        "n_requested": cell.trials,
        "assertion_failures": [
            _failure(failure, len(results), traces)
            for failure in sorted(cell.failures, key=lambda failure: -failure.weight_lost)
        ],
    }


def _verdict(cell: CellSummary, results: Sequence[Row]) -> Verdict:
    if cell.verdict != "INCONCLUSIVE":
        return cell.verdict
    return cell_verdict(results, cell.threshold).verdict if results else "FAIL"


def _early_stop_reason(stop: Stop | None) -> str | None:
    if stop is None:
        return None
    if stop.rule == "hard_fail":
        return f"hard fail in trial {stop.after}"  # the rule stops at the first, and trials count from 1 here
    return f"threshold unreachable: {stop.reason}"


def _trial(number: int, row: Row, trace: Trace | None) -> dict[str, Any]:
    result = row.result
    assert result is not None
    return {
        "trial_number": number,
        "status": row.status,
        "score": result.score or 0.0,
        "passed": row.status == "passed",
        "eval_results": [_eval_result(finding, trace) for finding in trace.findings] if trace else [],
        "latency_seconds": result.duration_s,
        "cost_usd": result.cost_usd,
        "retries_used": _retries_used(row.status, result, trace),
        "transient_error_types": _retried(trace),
        "error_message": _error_message(row.status, result, trace),
        "trace_id": row.trace_id,
    }


def _retried(trace: Trace | None) -> list[str]:
    """Return the kinds of the transient failures, in order: what stands for exception class names here."""
    if trace is None:
        return []
    failed = [retry for turn in trace.turns for retry in turn.retries]
    failed += trace.error.retries if trace.error else ()
    return [retry.kind for retry in failed if retry.kind in _TRANSIENT]


def _retries_used(status: str, result: Result, trace: Trace | None) -> int:
    """Return how often an exchange was made again: the failure that ended a trial was not followed by one."""
    untold = status == "infra_error" and result.error != "judge"
    ended = bool(trace.error and trace.error.retries) if trace else untold
    return max(0, result.retries - ended)


def _error_message(status: str, result: Result, trace: Trace | None) -> str | None:
    if status != "infra_error":
        return None
    return trace.error.message if trace and trace.error else result.error or "unknown"


def _eval_result(finding: Finding, trace: Trace) -> dict[str, Any]:
    return {
        "assertion_type": _type(finding),
        "score": finding.score,
        "passed": finding.passed,
        "weight": finding.weight,
        "required": finding.required,
        "details": finding.details or finding.error or "",
        "metadata": _judge_metadata(finding, trace),
    }


def _judge_metadata(finding: Finding, trace: Trace) -> dict[str, Any] | None:
    """Return what a judge's votes were; None for other assertions, and when no vote could be read."""
    judged = next((one for one in trace.judged if one.assertion == finding.assertion), None)
    if finding.type != "judge" or judged is None or not judged.heard:
        return None
    judgement = next(one for one in trace.judgements if one.request == judged.request)
    votes = judgement.votes[: judged.k]
    ballot = Ballot(votes, judged.k, judged.threshold, judgement.weights, judgement.model, judged.request)
    medians = count(ballot).medians
    costs = [vote.cost_usd for vote in votes]
    return {
        "judge_model": judgement.model,
        "judge_k": judged.k,
        "judge_cost_usd": None if None in costs else math.fsum(cost for cost in costs if cost is not None),
        "per_criterion": [
            {
                "name": name,
                "median_score": medians[name] or 0.0,
                "all_scores": [vote.scores[name] for vote in votes if vote.heard and name in vote.scores],
                "weight": weight,
            }
            for name, weight in judgement.weights.items()
        ],
    }


def _type(finding: Finding) -> str:
    return "jmespath" if finding.type in _WAS_JMESPATH else finding.type


def _failure(failure: Failure, trials: int, traces: Mapping[str, Trace]) -> dict[str, Any]:
    findings = [
        finding
        for trace_id in failure.trace_ids
        if trace_id in traces
        for finding in traces[trace_id].findings
        if finding.assertion == failure.assertion
    ]
    return {
        "assertion_type": _type(findings[0]) if findings else "unknown",
        "expression": failure.label[:EXPRESSION_LENGTH_MAX],
        "fail_count": failure.fail_count,
        "total_weight_lost": failure.weight_lost,
        "sample_details": [found.details or found.error or "" for found in findings[:SAMPLES_MAX]],
        "fail_rate": failure.fail_count / trials,
    }
