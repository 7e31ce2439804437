"""Plans and rows, of which each test states only what matters to it."""

from datetime import UTC, datetime

from salvo_core.manifest.rows import Result, Row
from salvo_core.run.plan import Cell, Plan

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


def plan(*, trials=3, cells=1, threshold=0.8, assertions=("first", "second")):
    return Plan(
        run_id=RUN_ID,
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
        cells=tuple(
            Cell(
                scenario_digest=f"{number:064x}", scenario_name=f"scenario {number}", model="gpt-4o",
                adapter="openai", threshold=threshold, assertions=assertions,
            )
            for number in range(cells)
        ),
        trials=trials,
        salvo_version="0.2.0",
    )  # fmt: skip


def result(score=1.0, **more):
    fields = {
        "cost_usd": 0.01, "latency_s": 1.0, "duration_s": 2.0, "input_tokens": 100, "output_tokens": 50,
        "turns": 2, "retries": 0, "outcome": "completed", "error": "", "worker": "w", "digest": "",
    }  # fmt: skip
    return Result(score=score, **(fields | more))


def row(index, status="passed", score=None, **more):
    """A row as the manifest holds it: graded rows have a score, rows that never ran have no result."""
    trace_id = plan(trials=index + 1).trace_id(index)
    if status in ("pending", "running", "cancelled", "skipped") and not more:
        return Row(index, status, 0, trace_id)
    if status == "infra_error":
        more = {"outcome": "infra_error", "error": "transient", "cost_usd": None} | more
    elif score is None:
        score = 1.0 if status == "passed" else 0.0
    return Row(index, status, 1, trace_id, result=result(score, **more))


def rows(*statuses_and_scores):
    """Rows from index 0 on: a status, or a score (which passes at 0.8)."""
    made = []
    for index, one in enumerate(statuses_and_scores):
        if isinstance(one, str):
            made.append(row(index, one))
        else:
            made.append(row(index, "passed" if one >= 0.8 else "failed", one))
    return made
