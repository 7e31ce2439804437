"""What a run would take, by past runs of the very same cells, and what it could show."""

import pytest

from salvo_cli import exits, main
from salvo_cli.render.console import Marks
from salvo_cli.render.foreseen import foreseen
from salvo_core.evaluation.gate import Gate
from salvo_core.foresee import Amount, foresee, in_all
from salvo_core.identity import new_run_id
from salvo_core.run.summary import summarise
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import plan, row


async def past(*runs, order=None):
    """A store with a sealed run of each list of rows."""
    store = MemoryStore()
    for given in runs:
        made = (order or plan()).model_copy(update={"run_id": new_run_id(), "trials": len(given)})
        done = summarise(made, given, {}, started_ms=1, finished_ms=2, state="sealed")
        await store.put(keys.summary(made.run_id), done.encode()[0])
    return store


async def test_past_runs_of_the_same_cell_are_one_set_of_trials():
    store = await past(
        [row(0, cost_usd=0.01), row(1, cost_usd=0.03)],
        [row(0, cost_usd=0.02), row(1, "failed", cost_usd=0.02), row(2, cost_usd=0.02)],
    )
    (one,) = await foresee(plan(trials=100), store, detect=0.1)
    assert (one.past_runs, one.past_trials, one.pass_rate) == (2, 5, 0.8)
    assert one.cost_usd is not None
    assert one.cost_usd.total == pytest.approx(2.0)
    assert one.cost_usd.low is not None
    assert 0 < one.cost_usd.low < 2 < one.cost_usd.high
    assert one.tokens == Amount(15_000, 15_000, 15_000)
    assert one.calls is not None
    assert one.calls.total == 200
    assert one.trials_to_detect == 229  # 0.8 against 0.7
    assert one.detects is not None


async def test_another_scenario_model_or_an_unreadable_run_tells_nothing():
    store = await past([row(0)], order=plan().model_copy(update={"cells": (plan(cells=2).cells[1],)}))
    other = plan().cells[0].model_copy(update={"model": "other"})
    for run_id, stored in [(new_run_id(), b"{half"), (new_run_id(), None)]:
        await store.put(keys.summary(run_id) if stored else keys.plan(run_id), stored or b"{}")
    for order in (plan(), plan().model_copy(update={"cells": (other,)})):
        (one,) = await foresee(order, store)
        assert (one.past_runs, one.pass_rate, one.calls, one.cost_usd) == (0, None, None, None)
        assert one.trials_to_detect is None


async def test_a_single_past_trial_is_an_expectation_without_an_interval():
    (one,) = await foresee(plan(trials=10), await past([row(0)]))
    assert one.cost_usd == Amount(pytest.approx(0.1), None, None)


async def test_a_gate_says_how_many_trials_a_better_agent_needs():
    cell = plan().cells[0].model_copy(update={"gate": Gate(pass_rate=0.8)})
    (one,) = await foresee(plan().model_copy(update={"cells": (cell,)}), MemoryStore())
    assert one.rate_to_pass == pytest.approx(0.9)
    assert one.trials_to_pass is not None
    assert 90 < one.trials_to_pass < 135  # fewer than for a power of 95 % at alpha 5 %, which takes 135


def test_cells_add_up_their_squares_and_what_is_unknown_of_one_is_unknown_of_all():
    both = in_all([Amount(10, 7, 13), Amount(20, 16, 24)])
    assert both == Amount(30, 25, 35)
    assert in_all([Amount(10, 7, 13), None]) is None
    assert in_all([Amount(10, 7, 13), Amount(1, None, None)]) == Amount(11, None, None)
    assert in_all([]) is None


@pytest.mark.parametrize("width", [80, 160])
async def test_a_plan_is_told_within_the_terminal(width):
    order = plan(trials=50, cells=3)
    order = order.model_copy(
        update={"cells": tuple(c.model_copy(update={"gate": Gate(pass_rate=0.9)}) for c in order.cells)}
    )
    cells = await foresee(
        order,
        await past([row(i, cost_usd=0.01 * (i % 3)) for i in range(12)], order=plan(cells=1)),
        detect=0.1,
    )
    text = drawn(foreseen(order, cells, {"calls_max": 900}, detect=0.1, signs=Marks()), width)
    assert max(map(len, text.splitlines())) <= width
    assert "past runs know 1 of them" in text
    assert "calls   at most 900" in text
    known = drawn(foreseen(plan(trials=50), cells[:1], {"calls_max": 900}, detect=None, signs=Marks()), width)
    assert "cost    about $0.5000 ($0.19" in known
    assert "calls   about 100, at most 900" in known


def test_the_command_writes_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("SALVO_REDIS_URL", "SALVO_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "desk.yaml").write_text(
        "description: desk\nadapter: scripted\nmodel: pretend\nprompt: Be good.\n"
        "script: {turns: [{text: good}]}\nassertions: [{type: output_contains, value: good}]\n",
        "utf-8",
    )
    assert main.main(["plan", "desk.yaml", "-n", "50", "--detect", "0.1"]) == exits.OK
    text = " ".join(capsys.readouterr().out.split())
    assert "would order 1 cell, 50 trials" in text
    assert "past runs know none of them" in text
    assert "90% is assumed" in text
    assert "nothing was sent" in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "desk.yaml"]
