"""Progress, the list of runs, and the list of trials."""

from dataclasses import replace

import pytest

from salvo_cli.render import listing, progress
from salvo_cli.render.console import Marks
from salvo_core.manifest.counters import CellCounts, RunCounts
from salvo_core.manifest.rows import STATUSES
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import RUN_ID, plan, row


def counts(*, state="running", total=20, cells=2, per_cell=None, **statuses):
    fill = {"pending": total - sum(statuses.values())} if "pending" not in statuses else {}
    return RunCounts(
        run_id=RUN_ID,
        state=state,
        total=total,
        cells=cells,
        seeded=total,
        released=total,
        created_ms=0,
        now_ms=10_000,
        started_ms=0,
        finished_ms=None,
        concurrency_max=None,
        statuses=dict.fromkeys(STATUSES, 0) | statuses | fill,
        cost_usd=0.25,
        cost_unknown=0,
        input_tokens=1000,
        output_tokens=500,
        turns=10,
        retries=2,
        claims=12,
        expired=0,
        name="Refund [/b] desk",
        per_cell=per_cell or {},
    )


def test_one_line_tells_state_counts_rate_time_left_and_cost():
    line = progress.terse(counts(passed=8, failed=2, running=3))
    assert line == "running 10/20 · 3 running · 8 passed · 2 failed · 1.0/s · eta 10.0 s · cost $0.2500"


def test_a_re_evaluation_costs_what_its_judges_do_and_not_what_the_conversations_did():
    again = replace(counts(passed=8), reeval=True, judge_cost_usd=0.5)
    assert progress.terse(again).endswith("cost $0.5000")
    shown = drawn(progress.live(again, (), signs=Marks()))
    assert "cost $0.5000" in shown
    assert "tokens" not in shown


@pytest.mark.parametrize("state", ["paused", "finished", "sealed"])
def test_a_run_that_does_not_move_has_no_time_left(state):
    assert "eta" not in progress.terse(counts(state=state, passed=8))


def test_a_bar_is_full_only_when_all_has_ended():
    assert progress.bar(999_999, 1_000_000, Marks(), 10).plain == "━" * 9 + "─"
    assert progress.bar(10, 10, Marks(), 10).plain == "━" * 10
    assert progress.bar(0, 10, Marks(), 10).plain == "─" * 10


def test_the_live_view_shows_states_pace_workers_and_each_cell():
    per_cell = {0: CellCounts(statuses=dict.fromkeys(STATUSES, 0) | {"passed": 4}, score_sum=3.6, scored=4)}
    view = progress.live(
        counts(passed=4, running=3, per_cell=per_cell),
        ["one [/b]", "two"],
        signs=Marks(),
        workers="2 workers",
        note="Ctrl-C pauses it",
    )
    text = drawn(view)
    for part in (
        "4/20  running",
        "13 pending · 3 running · 4 passed",
        "2 workers",
        "one [/b]",
        "4/10",
        "0.90",
    ):
        assert part in text
    assert text.rstrip().endswith("Ctrl-C pauses it")


def test_a_list_of_runs_shows_verdict_or_state():
    text = drawn(listing.runs([counts(passed=3)], signs=Marks()))
    assert "0199c2f4-7b1e-7c3a" in text
    assert "running" in text
    assert "Refund [/b] desk" in text


@pytest.mark.parametrize("width", [80, 160])
def test_a_trials_trace_id_is_never_cut(width):
    order = plan(trials=2, cells=2)
    given = [
        row(0),
        row(1, "infra_error", error="rate_limited"),
        row(2, "pending"),
        row(3, outcome="max_turns"),
    ]
    text = drawn(listing.trials(given, order, signs=Marks(), width=width), width)
    for one in given:
        assert one.trace_id in text
    assert "rate limited" in text
    assert "max turns" in text
    assert max(map(len, text.splitlines())) <= width


def test_a_trial_as_a_document_names_cell_model_and_failed_assertions():
    document = listing.trial_document(row(3, "failed", 0.5, failed=((1, 0.0),)), plan(trials=2, cells=2))
    assert (document["cell"], document["trial"], document["status"]) == (1, 1, "failed")
    assert document["result"]["failed_assertions"] == [1]
    assert listing.trial_document(row(0, "pending"), plan())["result"] is None


def test_t55_what_judges_cost_stands_beside_what_agents_cost():
    judged = replace(counts(passed=8), judge_cost_usd=0.02)
    assert "cost $0.2700 ($0.2500 agent + $0.0200 judge)" in progress.terse(judged)
    assert "$0.2700" in drawn(listing.runs([judged], signs=Marks()))
    unknown = replace(counts(passed=8), judge_cost_unknown=3)
    assert "cost $0.2500+? ($0.2500 agent + unknown judge)" in progress.terse(unknown)


def test_a_name_that_is_cut_in_a_list_ends_as_one_that_is_cut():
    text = drawn(listing.runs([replace(counts(), name="a very long name " * 9)], signs=Marks()), 80)
    line = text.splitlines()[1]
    assert line.endswith("…")
    assert len(line) == 80


def test_a_re_evaluation_costs_what_its_judges_did_and_fits_on_eighty_columns():
    judged = replace(counts(passed=3), cost_usd=0.25, judge_cost_usd=0.02)
    text = drawn(listing.runs([judged], signs=Marks(), width=80, of={RUN_ID: RUN_ID}), 80)
    assert "$0.0200" in text
    assert text.split()[:6] == ["reeval", "of", "run", "verdict", "passed", "cost"]
