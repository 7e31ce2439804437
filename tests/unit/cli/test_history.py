"""The history at 80 and 160 columns: runs oldest first, and each cell's way from run to run."""

import io
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from salvo_cli.render.console import Marks, marks
from salvo_cli.render.history import POINTS_MAX, history, history_document, sparkline
from salvo_core.history import Damaged, History, PastRun, chosen
from salvo_core.manifest.rows import Row
from salvo_core.run.stopping import DECIDED, Stop
from salvo_core.run.summary import summarise
from tests.unit.cli.drawing import ascii_console, drawn
from tests.unit.run.builders import plan, row, rows

NOW_MS = 1_795_395_600_000


def past(*runs, cells=1, damaged=(), unsealed=0):
    made = []
    for age, made_of in enumerate(runs):
        order = plan(trials=len(made_of) // cells, cells=cells)
        order = order.model_copy(update={"created_at": order.created_at + timedelta(minutes=age)})
        one = summarise(order, made_of, {}, started_ms=1_000, finished_ms=5_000, state="sealed")
        made.append(PastRun(one, one.cells))
    return History(tuple(made), damaged, unsealed)


def shown(one, width=80, **more):
    return drawn(history(one, now_ms=NOW_MS, width=width, signs=Marks(), **more), width)


@pytest.mark.parametrize("width", [80, 160])
def test_each_run_is_a_line_oldest_first_and_nothing_is_wider_than_the_terminal(width):
    text = shown(past(rows(0, 0), rows(1, 0), rows(1, 1), rows("infra_error", 1)), width)
    verdicts = [
        word
        for line in text.splitlines()
        for word in ("FAIL", "PARTIAL", "PASS", "INFRA ERROR")
        if word in line
    ]
    assert verdicts == ["FAIL", "PARTIAL", "PASS", "INFRA ERROR"]
    assert max(map(len, text.splitlines())) <= width
    assert "scenario 0" in text


def test_the_trend_is_told_from_the_first_run_to_the_last():
    text = shown(past(rows(0, 0), rows(1, 0), rows(1, 1)))
    assert "3 runs shown · pass rate 0% → 100%" in text
    assert "▁▅█" in text


def test_runs_of_other_cells_are_not_told_as_a_change_of_one_rate():
    text = shown(History((*past(rows(1, 1)).runs, *past(rows(1, 0, 0, 0), cells=2).runs), (), 0))
    assert "2 runs shown" in text
    assert "pass rate 100%" not in text


@pytest.mark.parametrize("width", [80, 160])
def test_trials_that_nobody_needed_are_not_among_those_that_could_have_passed(width):
    ended = [row(index) for index in range(8)] + [row(8, "failed"), row(9, "infra_error")]
    spared = [Row(index, "skipped", 0, "t", reason=DECIDED) for index in range(10, 100)]
    text = shown(past([*ended, *spared]), width)
    assert "8/10" in text
    assert "8/100" not in text


def test_one_run_has_no_trend():
    text = shown(past(rows(1, 0)))
    assert "1 run shown\n" in text
    assert "Pass rate of each cell" not in text


def test_hiding_runs_that_passed_hides_no_part_of_the_trend():
    text = shown(past(rows(1, 1), rows(0, 0)), failures_only=True)
    assert "1 run shown, 1 that passed left out · pass rate 100% → 0%" in text
    assert "✓ PASS" not in text
    assert "█▁" in text
    everything_passed = shown(past(rows(1), rows(1)), failures_only=True)
    assert "0 runs shown, 2 that passed left out" in everything_passed


def test_only_a_change_that_is_more_than_chance_has_a_colour_and_each_says_how_probable_it_was():
    noise = past(rows(*[1] * 9, 0), rows(*[1] * 8, 0, 0))
    fall = past(rows(*[1] * 19, 0), rows(*[1] * 4, *[0] * 16))
    assert noise.trends[0].chance == pytest.approx(0.531, abs=0.001)
    assert fall.trends[0].chance < 1e-5
    for one, style in ((noise, ""), (fall, "red")):
        paper = io.StringIO()
        screen = Console(file=paper, width=120, force_terminal=True, color_system="standard")
        screen.print(history(one, now_ms=NOW_MS, width=120, signs=Marks()))
        red = "\x1b[31m" in paper.getvalue().partition("Pass rate of each cell")[2]
        assert red == (style == "red")
    assert "90% → 80% (49–94)" in shown(noise, 160)
    assert "<0.001" in shown(fall)


def test_what_came_before_an_edit_is_no_evidence_of_a_change():
    one = past(rows(*[0] * 20), rows(*[1] * 20), rows(*[1] * 20))
    before = one.runs[0]
    other = before.cells[0].model_copy(update={"scenario_digest": "e" * 64})
    edited = History((PastRun(before.summary, (other,)), *one.runs[1:]))
    assert one.trends[0].chance < 1e-9
    (trend,) = edited.trends
    assert (trend.edits, trend.chance) == ([1], 1.0)


def test_a_cell_that_stopped_early_has_the_interval_that_allows_for_it():
    one = past(rows(*[1] * 10), rows(*[1] * 10))
    stop = Stop(after=10, rule="sprt", reason="", decision="good")
    cell = one.runs[1].cells[0].model_copy(update={"early_stop": stop})
    (trend,) = History((one.runs[0], PastRun(one.runs[1].summary, (cell,)))).trends
    usual, stopped = trend.points
    assert (usual.interval, stopped.interval) == ("wilson", "always_valid")
    assert stopped.low < usual.low
    document = history_document(History((one.runs[0], PastRun(one.runs[1].summary, (cell,)))))
    assert [point["interval"] for point in document["trends"][0]["points"]] == ["wilson", "always_valid"]


@pytest.mark.parametrize("width", [80, 160])
def test_a_long_history_of_long_names_fits_and_every_name_has_room(width):
    one = past(*[rows(1, 0)] * 40)
    runs = []
    for run in one.runs:
        cell = run.cells[0].model_copy(update={"scenario_name": "refund a late order " * 9})
        runs.append(PastRun(run.summary, (cell,)))
    text = shown(History(tuple(runs)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "refund a late order" in text.partition("Pass rate of each cell")[2]


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=4), max_size=6))
def test_whatever_cells_runs_have_each_trend_has_one_place_a_run(named):
    one = past(rows(1), rows(0))
    usual = one.runs[0]
    runs = tuple(
        PastRun(
            usual.summary,
            tuple(usual.cells[0].model_copy(update={"scenario_name": name}) for name in names),
        )
        for names in named
    )
    for trend in History(runs).trends:
        assert [point is not None for point in trend.points] == [trend.scenario in names for names in named]
        assert [point.counted.n for point in trend.graded] == [
            names.count(trend.scenario) for names in named if trend.scenario in names
        ]


def test_each_cell_has_its_own_line_and_a_run_that_graded_none_of_it_is_a_gap():
    one = past([row(0), row(1, "failed")], [row(0, "infra_error"), row(1)], [row(0), row(1)], cells=2)
    first, second = one.trends
    assert (first.rates, second.rates) == ((1, None, 1), (0, 1, 1))
    text = shown(one, 160)
    assert "█ █" in text
    assert "▁██" in text
    assert "0% → 100%" in text


def test_a_cell_that_only_one_run_has_is_no_trend_and_an_edited_scenario_is_called_so():
    one = past(rows(1), rows(0))
    newer = one.runs[1]
    edited = newer.cells[0].model_copy(update={"scenario_digest": "e" * 64})
    other = newer.cells[0].model_copy(update={"scenario_name": "new"})
    two = History((one.runs[0], PastRun(newer.summary, (edited, other))))
    assert [(trend.scenario, trend.edited) for trend in two.trends] == [("scenario 0", True)]
    assert "edited" in shown(two)
    assert "edited" not in shown(one)


@pytest.mark.parametrize(
    ("rates", "drawing"),
    [((0, 1), "▁█"), ((0.5,), "▅"), ((0.99, 0.01, None, 1), "█▁ █"), ((), "")],
)  # fmt: skip
def test_a_sparkline_has_a_mark_a_rate_and_shows_the_newest(rates, drawing):
    assert sparkline(rates, Marks()) == drawing
    assert sparkline((0.0,) * 99 + rates, Marks()).endswith(drawing)
    assert len(sparkline((0.0,) * 99 + rates, Marks())) == POINTS_MAX


def test_a_terminal_without_blocks_gets_digits():
    assert sparkline((0, 0.5, 1), marks(ascii_console())) == "158"


def test_the_document_has_every_run_trend_and_what_was_left_out():
    damaged = (Damaged("r", "summary.json is damaged"),)
    document = history_document(past(rows(1, 0), rows(1, 1), damaged=damaged, unsealed=1), failures_only=True)
    (only,) = document["runs"]
    assert (only["verdict"], only["passed"], only["pass_rate"], only["score_mean"]) == (
        "PARTIAL",
        1,
        0.5,
        0.5,
    )
    assert document["trends"][0]["pass_rates"] == [0.5, 1]
    assert document["damaged"] == [{"run_id": "r", "message": "summary.json is damaged"}]
    assert document["not_ended"] == 1


def test_a_run_without_a_grade_has_no_rate_and_no_score():
    (only,) = past(rows("infra_error")).runs
    assert (only.pass_rate, only.score_mean, only.cost_usd) == (None, None, None)
    assert history_document(past(rows("infra_error")))["runs"][0]["cells"][0]["pass_rate"] is None


def test_t68_a_scenario_is_chosen_by_its_name_else_by_a_part_of_name_or_file():
    cells = [
        cell.model_copy(update={"scenario_name": name, "scenario_file": file, "model": model})
        for cell, (name, file, model) in zip(
            plan(cells=4).cells,
            [
                ("alpha", "a.yaml", "m"),
                ("alphabet", "b.yaml", "m"),
                ("beta", "c.yaml", "m"),
                ("alpha", "a.yaml", "n"),
            ],
            strict=True,
        )
    ]
    assert chosen(cells, "Alpha") == [0, 3]
    assert chosen(cells, "alph") == [0, 1, 3]
    assert chosen(cells, "c.yaml") == [2]
    assert chosen(cells, "alpha", ["n"]) == [3]
    assert chosen(cells) == [0, 1, 2, 3]
    assert chosen(cells, "gamma") == chosen(cells, "", ["x"]) == []


def test_a_run_cost_what_agents_and_judges_cost_and_the_document_tells_them_apart():
    judged = [row(0, judged=((0, 3, 3, 3),), judge_cost_usd=0.02), row(1)]
    one = past(judged)
    assert "$0.0400" in shown(one)
    (told,) = history_document(one)["runs"]
    assert (told["cost_usd"], told["judge_cost_usd"], told["judge_cost_unknown"]) == (0.02, 0.02, 0)
