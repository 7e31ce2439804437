"""Where a run stands that only its summary remembers."""

from __future__ import annotations

from datetime import datetime

from salvo_core.manifest.counters import RunCounts
from salvo_core.run.plan import run_name
from salvo_core.run.summary import Summary


def counts_of(summary: Summary, *, reeval: bool = False) -> RunCounts:
    """Return the status of a run, or of a re-evaluation, that only its summary remembers."""
    ended_ms = summary.finished_ms or round(datetime.timestamp(summary.created_at) * 1000)
    return RunCounts(
        run_id=summary.run_id,
        state=summary.state,
        total=summary.total,
        cells=len(summary.cells),
        seeded=summary.total,
        released=summary.total,
        created_ms=round(summary.created_at.timestamp() * 1000),
        now_ms=ended_ms,
        started_ms=summary.started_ms,
        finished_ms=summary.finished_ms,
        concurrency_max=None,
        statuses=summary.counts,
        cost_usd=summary.cost.total_usd or 0.0,
        cost_unknown=summary.cost.unknown,
        judge_cost_usd=summary.judge_cost.total_usd or 0.0,
        judge_cost_unknown=summary.judge_cost.unknown,
        input_tokens=summary.input_tokens,
        output_tokens=summary.output_tokens,
        turns=0,
        retries=summary.retries,
        claims=0,
        expired=0,
        name=run_name([(cell.scenario_digest, cell.scenario_name) for cell in summary.cells]),
        verdict=summary.verdict,
        exit_code=summary.exit_code,
        budget=summary.budget,
        reeval=reeval,
    )
