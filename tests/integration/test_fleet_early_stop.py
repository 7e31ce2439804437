"""Early stop on a fleet: real workers, a window, and one of them killed in the middle."""

from __future__ import annotations

import pytest

from salvo_core.evaluation.gate import Gate
from salvo_core.manifest.rows import SCORED
from salvo_core.run.sequential import Sequential
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
NEVER = [{"type": "output_contains", "value": "nonesuch", "required": True}]
AT_ONCE = 6


async def test_decided_cells_stop_and_the_others_finish_though_a_worker_is_killed(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.1)}):
        killed, _ = await fleet.start(2)
        plan = await fleet.submit(
            scenario(MODEL, description="a", assertions=NEVER),
            scenario(MODEL, description="b"),
            scenario(MODEL, description="c", assertions=NEVER),
            trials=20,
            concurrency_max=AT_ONCE,
            early_stop=True,
        )

        async def deciding() -> bool:
            rows = await fleet.rows(plan)
            held = any(f"-{killed.pid}-" in row.worker for row in rows if row.status == "running")
            return held and {rows[0].status, rows[2].status} <= SCORED

        await until(deciding, "both cells can be decided while that worker holds trials")
        killed.kill9()
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    assert [cell.verdict for cell in summary.cells] == ["HARD FAIL", "PASS", "HARD FAIL"]
    bad = [summary.cells[0], summary.cells[2]]
    assert [cell.early_stop.after if cell.early_stop else None for cell in summary.cells] == [1, None, 1]
    # Besides the first, what ran of a decided cell was under way: the window holds no more. If the worker
    # that should have said so was the one that died, the next of its trials to end did.
    assert all(cell.scored <= 1 + 2 * AT_ONCE for cell in bad)
    assert all(cell.skipped == {"decided": 20 - cell.scored} for cell in bad)
    assert len({trace_id for trace_id, _ in fleet.asked()}) == len(traces)
    assert len(fleet.asked()) == len(traces) * TURNS


async def test_an_agent_that_always_passes_is_called_good_after_a_few_dozen_of_200_trials(
    fleet: Fleet,
) -> None:
    async with fleet.provider({MODEL: script(0.02)}):
        await fleet.start(2)
        plan = await fleet.submit(
            scenario(MODEL),
            trials=200,
            concurrency_max=AT_ONCE,
            gate=Gate(pass_rate=0.9),
            early_stop=True,
            sequential=Sequential(rule="sprt"),
        )
        summary = await fleet.sealed(plan)
        traces = await fleet.audit(plan)
    (cell,) = summary.cells
    # 0.85 against 0.95: each pass speaks for the better by ln(0.95 / 0.85), and ln(19) decides.
    assert cell.early_stop is not None
    assert (cell.early_stop.rule, cell.early_stop.decision, cell.early_stop.after) == ("sprt", "good", 27)
    assert (cell.verdict, summary.exit_code) == ("PASS", 0)
    assert cell.skipped == {"decided": 200 - cell.scored}
    assert cell.scored == len(traces) < 200
