"""The report at 80 and 160 columns, with one cell and with forty."""

from dataclasses import replace

import pytest

from salvo_cli.render.console import Marks
from salvo_cli.render.report import next_commands, report
from salvo_core.run.summary import summarise
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import plan, row, rows

WIDTHS = (80, 160)


def summary(
    given, *, cells=1, trials=None, threshold=0.8, assertions=("says 42.50", "calls refund"), state="sealed"
):
    order = plan(
        trials=trials or len(given) // cells, cells=cells, threshold=threshold, assertions=assertions
    )
    return summarise(order, given, {}, started_ms=1_000, finished_ms=5_000, state=state)


def shown(one, width=80, **more):
    return drawn(report(one, width=width, signs=Marks(), **more), width)


def test_one_cell_shows_every_figure():
    text = shown(summary(rows(1, 1, 0.5, 1)))
    for line in (
        "✓ PASS   1 cell · 4 of 4 trials ended",
        "passed      3/4 trials",
        "pass rate   75% (30–95)  of 4 graded trials, 95% interval",
        "pass@k      k=1 75%  k=2 100%  k=4 100%  at least one of k passes",
        "pass^k      k=1 75%  k=2 50%  k=4 0%  all of k pass",
        "score       mean 0.88 (0.48–1.00)  min 0.50  p50 1.00  p95 1.00  threshold 0.80",
        "latency     p50 1.00 s  p95 1.00 s",
        "tokens      p50 150  p95 150 a trial",
        "cost        $0.0400  $0.0133 a pass",
        "retries     0 in 0 trials",
    ):
        assert line in text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cells", [1, 2, 40])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width, cells):
    text = shown(summary(rows(*[1, 0.5] * cells), cells=cells), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_forty_cells_are_one_line_each_and_only_some_are_explained(width):
    text = shown(summary(rows(*[1] * 39, 0.0), cells=40), width)
    assert sum(line.strip().startswith(("1 ", "25 ", "40 ")) for line in text.splitlines()) >= 3
    assert text.count("scenario 39") == 3  # in the run's reason, its line, its explanation
    assert len(text.splitlines()) < 110


@pytest.mark.parametrize(
    ("given", "head"),
    [
        ([row(0)], "✓ PASS"),
        ([row(0, "failed")], "✗ FAIL"),
        ([row(0, "passed"), row(1, "failed", 0.0)], "~ PARTIAL"),
        ([row(0, "hard_fail", 0.9)], "! HARD FAIL"),
        ([row(0, "infra_error")], "! INFRA ERROR"),
        ([row(0), row(1, "cancelled")], "? INCONCLUSIVE"),
    ],
)
def test_every_verdict_has_its_mark_and_its_reason(given, head):
    one = summary(given)
    first, second, *_ = shown(one, 160).splitlines()
    assert first.startswith(head)
    assert second.strip() == one.reason


def test_failures_name_the_assertion_a_sample_trace_and_the_command_to_open_it():
    failing = [row(0), row(1, "failed", 0.0, failed=((1, 0.0),))]
    text = shown(summary(failing))
    assert "1 of 2  calls refund" in text
    assert f"salvo trace {failing[1].trace_id}" in text


def test_an_infrastructure_error_is_shown_with_its_kind_message_and_trace():
    bad = row(1, "infra_error", error="authentication")
    text = shown(summary([row(0), bad]), infra_messages={bad.trace_id: "the key [/b] is not accepted"})
    assert "1 of 2  authentication" in text
    assert "the key [/b] is not accepted" in text
    assert f"salvo trace {bad.trace_id}" in text
    assert "not graded  1 infra" in text


def test_t71_markup_in_a_label_is_shown_verbatim():
    text = shown(
        summary([row(0, "hard_fail", 0.0, failed=((0, 0.0),))], assertions=("contains '[/b]' [red]",))
    )
    assert "contains '[/b]' [red]" in text


def test_an_unknown_cost_is_called_unknown():
    text = shown(summary([row(0, cost_usd=None)]))
    assert "cost        unknown" in text
    assert "a pass" not in text


def test_a_run_under_way_says_that_its_figures_will_change():
    text = shown(summary([row(0), row(1, "pending")], state="running"), 160)
    assert "1 of 2 trials ended   running: these figures will change" in text


def test_three_commands_follow_and_the_worst_cell_gives_the_sample():
    hard = row(1, "hard_fail", 0.0, failed=((0, 0.0),))
    commands = [command for command, _ in next_commands(summary([row(0, failed=((0, 0.5),)), hard], cells=2))]
    assert commands == [
        "salvo trials 0199c2f4-7b1e-7c3a --status hard_fail",
        f"salvo trace {hard.trace_id}",
        "salvo report 0199c2f4-7b1e-7c3a --json",
    ]
    assert len(next_commands(summary([row(0)]))) == 3


# -- parts, failures, details ------------------------------------------------------------------------


def troubled():
    """Two cells; the second fails two assertions, one of them in every trial."""
    given = [
        row(0), row(1, "failed", 0.0, failed=((0, 0.0), (1, 0.0))),
        row(2), row(3, "failed", 0.5, failed=((1, 0.0),)),
    ]  # fmt: skip
    return summary(given, cells=2)


@pytest.mark.parametrize("width", WIDTHS)
def test_some_cells_are_shown_under_the_head_of_the_run(width):
    text = shown(troubled(), width, cells=[0])
    assert "shown: 1 of 2 cells" in text
    assert text.startswith("✗ FAIL   2 cells · 4 of 4 trials ended")
    assert "✓ PASS\naverage score 1.00" in text
    assert "scenario    scenario 0" in text
    assert "calls refund" not in text
    assert "--status failed" not in text  # no trial shown is failed
    assert "shown:" not in shown(troubled(), width, cells=[0, 1])


@pytest.mark.parametrize("width", WIDTHS)
def test_failures_alone_are_told_whole_and_the_figures_left_out(width):
    one = troubled()
    text = shown(one, width, failures_only=True)
    assert "rate (95%)" not in text
    assert "2 of 2  calls refund" in text
    assert "weight 1, 2.00 lost in all" in text
    assert all(f"salvo trace {trace_id}" in text for trace_id in one.cells[1].failures[0].trace_ids)
    assert max(map(len, text.splitlines())) <= width


def test_the_failure_that_cost_most_comes_first():
    text = shown(troubled(), failures_only=True)
    assert text.index("calls refund") < text.index("says 42.50")


def test_without_failures_that_is_said():
    assert "nothing failed" in shown(summary([row(0)]), failures_only=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cells", [1, 2, 30])
def test_details_tell_how_every_figure_spreads_also_on_pass(width, cells):
    given = [row(index, latency_s=float(index), retries=1) for index in range(2 * cells)]
    text = shown(summary(given, cells=cells), width, more=True)
    heads = ["a", "trial", "min", "mean", "median", "p95", "max"]
    assert heads in [line.split() for line in text.splitlines()]
    assert "2 completed" in text
    assert "$0.0200 · $0.0100 a trial · $0.0100 a pass" in text
    assert text.count("2 in 2 trials") >= min(cells, 12)
    assert ("more cells: --scenario picks one" in text) == (cells > 24)
    assert max(map(len, text.splitlines())) <= width


def test_details_of_a_cell_without_a_grade_tell_what_there_is():
    text = shown(summary([row(0, "infra_error")]), more=True)
    assert "1 infra error" in text
    assert "median" not in text


def test_what_a_summary_quotes_of_an_infrastructure_error_is_shown_without_asking_anyone():
    one = summary([row(0, "infra_error")])
    (errors,) = one.cells[0].infra_errors
    quoted = errors.model_copy(update={"message": "no such host [/b]"})
    cell = one.cells[0].model_copy(update={"infra_errors": (quoted,)})
    assert "no such host [/b]" in shown(one.model_copy(update={"cells": (cell,)}))


def judged_summary(cells=1):
    heard = [(1, 3, 3, 3), (1, 3, 2, 1), (1, 3, 1, 1)] * cells
    given = [
        row(index, judged=(one,), judge_cost_usd=0.02, undecided=(one[0],) if one[2] < 2 else ())
        for index, one in enumerate(sorted(heard, key=lambda one: one[2]))
    ]
    return summary(given, cells=cells, assertions=("says 42.50", "judge politeness [/b], accuracy"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cells", [1, 2, 40])
def test_judges_are_told_of_without_a_line_too_wide(width, cells):
    text = shown(judged_summary(cells), width)
    assert max(map(len, text.splitlines())) <= width
    assert "Judges" in text
    assert "judge politeness [/b], accuracy" in text
    assert text.count("graded without") == min(cells, 12)
    assert len(text.splitlines()) < 170


def test_t55_the_headline_says_what_agents_and_judges_cost_together_and_apart():
    text = shown(judged_summary(), 160)
    assert "cost $0.0900 ($0.0300 agent + $0.0600 judge)" in text
    assert "votes heard  unanimous  alpha" in text
    assert "6/9        50%" in text
    assert "alpha: how far votes agree" in text
    assert "1 trial of 3 graded without `judge politeness [/b], accuracy`" in text
    without = shown(summary(rows(1, 1)), 160)
    assert "judge" not in without.lower()


def test_cells_have_a_column_for_judges_only_where_one_was_asked():
    assert "judge" in shown(judged_summary(2), 160).split("Judges")[0]
    assert "judge" not in shown(summary(rows(1, 1), cells=2), 160)


def test_what_a_judge_costs_is_unknown_where_its_price_is():
    given = [row(0, judged=((1, 3, 3, 3),), judge_cost_usd=None)]
    text = shown(summary(given), 160)
    assert "cost $0.0100+? ($0.0100 agent + unknown judge)" in text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cells", [1, 2])
def test_a_cell_that_stopped_early_says_where_why_and_how_much_was_skipped(width, cells):
    order = plan(trials=10, cells=cells).model_copy(update={"early_stop": True})
    ended = [
        row(index, "failed", 0.0) if index % cells or index < 3 * cells else row(index, "skipped")
        for index in range(order.total)
    ]
    ended = [replace(one, reason="decided") if one.status == "skipped" else one for one in ended]
    text = shown(summarise(order, ended, {}, started_ms=1_000, finished_ms=5_000, state="sealed"), width)
    told = " ".join(text.split())
    assert "stopped early after 3 of 10 trials, 7 skipped" in told
    if cells == 1:
        assert "early stop after 3 of 10 trials: perfect scores in all others would make the average" in told
        assert "not graded 7 skipped" in told


def test_failed_trials_are_counted_and_the_hard_ones_apart():
    given = [row(0), row(1, "failed", 0.5), row(2, "hard_fail", 0.5), row(3, "infra_error")]
    text = shown(summary(given))
    assert "failed      2 trials  1 of them hard" in text
    assert "failed      1 trials" not in shown(summary(rows(1, 1)))


def test_large_counts_are_told_apart_by_thousands():
    text = shown(summary([row(index, score=0.0, status="failed") for index in range(1200)]))
    assert "0/1,200 trials" in text
    assert "failed      1,200 trials" in text


def test_details_tell_what_the_cheapest_and_the_dearest_trial_cost():
    given = [row(0, cost_usd=0.01), row(1, cost_usd=0.04), row(2, cost_usd=None)]
    text = shown(summary(given), more=True)
    assert next(line.split() for line in text.splitlines() if "cost  " in line and "0.0400" in line) == [
        "cost", "$0.0100", "$0.0250", "$0.0250", "$0.0400", "$0.0400",
    ]  # fmt: skip


# -- how far the figures can be trusted ----------------------------------------------------------------


def graded(passes, fails, **more):
    return [row(i, "passed" if i < passes else "failed", **more) for i in range(passes + fails)]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_cell_is_named_by_what_its_trials_prove_and_intervals_are_the_asked_ones(width):
    one = summary(graded(10, 10))
    assert "50% (30–70)  of 20 graded trials, 95% interval · flaky" in shown(one, width)
    assert "50% (27–73)  of 20 graded trials, exact 95% interval · flaky" in shown(one, width, exact=True)
    assert "pass^k      k=3 11%  k=5 2%  all of k pass" in shown(one, width, tries=(3, 5))
    assert "pass@k" not in shown(summary([row(0)]), width)


def test_trials_without_a_grade_show_as_bounds_beside_their_number():
    text = shown(summary([*graded(7, 1), row(8, "infra_error"), row(9, "infra_error")]))
    assert "not graded  2 infra; the pass rate of all is 70%–90%" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_several_cells_have_a_line_each_and_two_means_by_their_question(width):
    given = [row(i, "passed" if i % 3 or i % 2 else "failed", 0.9) for i in range(24)]
    text = shown(summary(given, cells=3), width)
    assert "1/2/4/8" in text
    assert "these cells  83% (" in text
    assert "population   83% (" in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_run_of_many_cells_leaves_the_lines_to_whoever_asks():
    one = summary(rows(*[1, 0.5] * 40), cells=40)
    assert "of each cell: --verbose" in shown(one)
    assert "pass@k %" in shown(one, more=True)


def test_a_worker_and_retries_that_matter_are_warnings_and_calm_is_silent():
    odd = [
        row(i, "passed" if i % 4 else "failed", worker=f"[w{i % 4}]", retries=int(i % 4 == 0))
        for i in range(80)
    ]
    text = " ".join(shown(summary(odd)).split())
    assert "warning: on worker [w0] 0 of 20 trials passed where 15.0 are expected (-8.9 sd)" in text
    assert "warning: retried trials come out otherwise: 0 of 20 passed, never retried 60 of 60" in text
    calm = [
        row(i, "passed" if i % 5 else "failed", worker=f"w{i % 4}", retries=int(i % 7 == 0))
        for i in range(80)
    ]
    assert "warning" not in shown(summary(calm))
    assert "chi-squared" in shown(summary(calm), more=True)
