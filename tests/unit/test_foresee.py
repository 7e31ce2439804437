"""What a run would take, by past runs of the very same cells, and what it could show."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from salvo_cli import exits, main
from salvo_cli.ordering import Asked
from salvo_cli.render.console import Marks
from salvo_cli.render.foreseen import basis, foreseen, foreseen_document, totals
from salvo_cli.wiring import surroundings
from salvo_core.errors import StoreUnavailable
from salvo_core.evaluation.gate import Gate
from salvo_core.foresee import Amount, estimate, foresee, in_all
from salvo_core.identity import new_run_id
from salvo_core.run.summary import summarise
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import make_plan
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import plan, row

DESK = (
    "description: desk\nadapter: scripted\nmodel: pretend\nprompt: Be good.\n"
    "script: {turns: [{text: good}]}\nassertions: [{type: output_contains, value: good}]\n"
)


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


def dry(*, plan_cells, calls_max, tokens_max=None):
    """What a dry run says of so many cells, all with these bounds."""
    one = {"calls_max": calls_max, "judge_calls_max": 0, "tokens_max": tokens_max, "cost_usd_max": None}
    one["price_known"] = True
    return {"cells": [one] * plan_cells, "calls_max": plan_cells * calls_max}


def test_what_past_runs_do_not_know_is_at_its_worst_and_each_is_called_what_it_is():
    known, worst = Amount(10, 7, 13), 100
    both = estimate([known, None, known], [worst, worst, worst])
    assert (both.by_past_runs, both.by_worst_case, both.worst_case) == (2, 1, 100)
    assert both.foreseen == Amount(20, pytest.approx(20 - 18**0.5), pytest.approx(20 + 18**0.5))
    assert estimate([None, known], [None, 5]).worst_case is None  # nobody bounds it
    assert [
        basis(estimate(amounts, [worst] * len(amounts))) for amounts in ([known], [None], [known, None])
    ] == ["past runs", "worst case", "both"]


async def test_the_document_says_by_which_of_the_two_each_figure_is_made():
    cells = await foresee(
        plan(trials=50, cells=2), await past([row(i) for i in range(12)], order=plan(cells=1))
    )
    told = foreseen_document(cells, dry(plan_cells=2, calls_max=70, tokens_max=9_000))
    assert told["expected"] == {"calls": None, "tokens": None, "cost_usd": None}
    calls, tokens, cost = (told["estimate"][unit] for unit in ("calls", "tokens", "cost_usd"))
    assert (calls["basis"], calls["worst_case"], calls["foreseen"]["total"]) == ("both", 70, 100)
    assert (tokens["worst_case"], cost["worst_case"]) == (9_000, None)
    whole = foreseen_document(cells[:1], dry(plan_cells=1, calls_max=70))
    assert whole["estimate"]["calls"]["basis"] == "past runs"
    assert whole["expected"]["calls"]["total"] == 100


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
    text = drawn(foreseen(order, cells, dry(plan_cells=3, calls_max=300), detect=0.1, signs=Marks()), width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "calls about 100 by past runs of 1 of 3 cells; the other 2 at most 600 (worst case)" in words
    assert "the other 2 unbounded (worst case)" in words
    assert "worst case: every turn and every retry used" in words
    known = drawn(
        foreseen(plan(trials=50), cells[:1], dry(plan_cells=1, calls_max=900), detect=None, signs=Marks()),
        width,
    )
    assert "cost    about $0.5000 ($0.19" in known
    assert "calls   about 100 by past runs\n" in known
    assert "worst case" not in known


def test_the_command_writes_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("SALVO_REDIS_URL", "SALVO_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "desk.yaml").write_text(DESK, "utf-8")
    assert main.main(["plan", "desk.yaml", "-n", "50", "--detect", "0.1"]) == exits.OK
    text = " ".join(capsys.readouterr().out.split())
    assert "would order 1 cell, 50 trials" in text
    assert "calls at most 2,000 (worst case) tokens unbounded (worst case)" in text
    assert "90% is assumed" in text
    assert "nothing was sent" in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "desk.yaml"]


async def test_a_dry_run_tells_what_past_runs_took_and_a_store_that_is_away_costs_only_that(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("SALVO_REDIS_URL", "SALVO_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "desk.yaml").write_text(DESK, "utf-8")
    asked = ["run", "desk.yaml", "-n", "10", "--dry-run"]

    def typed(*more):
        assert main.main([*asked, *more]) == exits.OK
        return capsys.readouterr()

    assert "by past runs" not in (await asyncio.to_thread(typed)).out
    found = Asked(paths=[Path("desk.yaml")], trials=4).order(surroundings())
    order = make_plan(found, now=datetime.now(UTC))
    done = summarise(
        order, [row(i, turns=3) for i in range(4)], {}, started_ms=1, finished_ms=2, state="sealed"
    )
    store = FileStore(tmp_path / ".salvo" / "store")
    await store.put(keys.summary(order.run_id), done.encode()[0])
    await store.aclose()
    text = " ".join((await asyncio.to_thread(typed)).out.split())
    assert "calls about 30 by past runs tokens about 1,500 by past runs cost about $0.1000" in text
    document = json.loads((await asyncio.to_thread(typed, "--json")).out)
    assert document["expected"]["calls"]["total"] == 30

    async def away(*_, **__):
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr("salvo_core.foresee.foresee", away)
    said = await asyncio.to_thread(typed)
    assert "past runs cannot be read, so the worst case is told: the store is away" in said.err
    assert "at most 400 provider calls" in said.out


async def test_a_cost_without_a_price_is_unknown_and_one_without_a_limit_unbounded():
    known = await foresee(plan(trials=10), await past([row(0, cost_usd=None), row(1, cost_usd=None)]))
    document = dry(plan_cells=1, calls_max=70)
    assert totals(known, document, Marks())[-1] == "cost    unbounded (worst case)"
    document["cells"][0]["price_known"] = False
    assert totals(known, document, Marks())[-1] == "cost    unknown: no price is known"
    document["cells"][0]["cost_usd_max"] = 3.0
    assert totals(known, document, Marks())[-1] == "cost    at most $3.0000 (worst case)"
