"""The web pages of a run and of a comparison: whole in themselves, and nothing in them acts."""

import base64
import hashlib
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_cli.render.change import Sides
from salvo_cli.render.pages import plots
from salvo_cli.render.pages.change import change_page
from salvo_cli.render.pages.history import history_page
from salvo_cli.render.pages.run import run_page
from salvo_cli.render.part import Part
from salvo_core.history import History, PastRun
from salvo_core.manifest.rows import Row
from salvo_core.run.change import Side, change
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.stopping import DECIDED, Stop
from salvo_core.run.summary import summarise
from tests.unit.cli.test_change import HOSTILE
from tests.unit.run.builders import plan, row
from tests.unit.run.test_change import BASELINE_ID

VOID = {"meta", "line", "circle", "br"}
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "code", "div", "section",
    "table", "thead", "tbody", "tr", "th", "td", "svg", "line", "circle", "text", "br",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "viewbox", "role", "aria-label", "x", "y",
    "x1", "x2", "y1", "y2", "cx", "cy", "r", "stroke-width", "text-anchor",
}  # fmt: skip


class Reader(HTMLParser):
    """Holds every element to what a page may have, and to being closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.said, self.seen = [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.said.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def side(run_id, rates, *, trials=40, name="", cost_usd=0.01, age=0):
    order = plan(trials=trials, cells=len(rates), assertions=(name or "says 42", "second"))
    cells = tuple(
        cell.model_copy(update={"scenario_name": name or cell.scenario_name, "model": name or cell.model})
        for cell in order.cells
    )
    labels = {"commit": name} if name else {}
    made = order.created_at + timedelta(days=age)
    order = order.model_copy(update={"run_id": run_id, "cells": cells, "labels": labels, "created_at": made})
    given_rows = []
    for index in range(order.total):
        cell, trial = order.cell_index(index), order.trial_index(index)
        passed = rates[cell] is not None and trial < rates[cell] * trials
        if rates[cell] is None:
            given_rows.append(row(index, "infra_error"))
        elif passed:
            given_rows.append(row(index, cost_usd=cost_usd * (1 + cell)))
        else:
            failed = {"failed": ((0, 0.0),), "cost_usd": cost_usd * (1 + cell)}
            given_rows.append(row(index, "failed", 0.0, **failed))
    facts = {
        cell: [AssertionFacts(label) for label in order.cells[cell].assertions] for cell in range(len(rates))
    }
    summary = summarise(order, given_rows, facts, started_ms=1_000, finished_ms=9_000, state="sealed")
    return Side(order, given_rows), summary


RUN_ID = plan().run_id
NOW, BEFORE = [0.6, 0.9, 0.95, None], [0.95, 0.9, 0.6, 0.9]


def compared(**more):
    now, summary = side(RUN_ID, NOW, age=1, **more)
    before, summary_before = side(BASELINE_ID, BEFORE, cost_usd=0.012, **more)
    past = History((PastRun(summary_before, summary_before.cells), PastRun(summary, summary.cells)))
    found = change(now, before)
    return summary, past, change_page(found, Sides("", "main"), now=summary, before=summary_before, past=past)


def test_a_runs_page_has_its_verdict_plots_figures_and_a_trial_to_open():
    summary, past, _ = compared()
    page = run_page(summary, past)
    reader = read(page)
    said = " ".join(reader.said)
    assert summary.reason in said
    assert "60% (45%–74%)" in said
    assert "salvo trace 0199c2f4" in said
    assert "transient" in said
    assert reader.seen.count("svg") == 3  # pass rates, costs, and how cells that were graded twice went
    history = page[page.index("From run to run") :]
    assert history.count("<circle") == 2 * 3
    assert f"24 of 40 passed, 60% (45–74) · run {RUN_ID}" in history
    assert "95% → 60%, 2 runs, by chance &lt;0.001" in history
    assert "1 cell without a known price or a grade left out" in said


def test_a_page_of_some_cells_holds_these_alone_and_says_what_was_left_out_and_whose_the_verdict_is():
    summary, past, _ = compared()
    page = run_page(summary, past, part=Part((1, 2), "--scenario <b>"))
    said = " ".join(read(page).said)
    assert f"INFRA ERROR: run {RUN_ID}, 2 of 4 cells shown" in said
    assert "INFRA ERROR  the whole run, 4 cells" in said
    told = "Shown: 2 of 4 cells, by --scenario <b>; the verdict is the whole run's, as are the figures above."
    assert f"{told} These cells: 2 PASS." in said
    assert not re.search(r"scenario [03]\b", page.partition("<h2>")[2])
    assert page.count('<td class="n">2</td><td class="t">scenario 1</td>') == 2  # numbered as in the run
    assert "What infrastructure ended" not in page
    assert "the whole run" not in run_page(summary, past)


def test_a_name_that_is_too_long_is_cut_before_its_model_which_tells_cells_apart():
    long = "a customer who moved twice and forgot the first address"
    bar = plots.pass_rates([plots.Bar(f"{long} · {model}", "good", None) for model in ("gpt-4o", "m" * 60)])
    shown = re.findall(r'<text x="0" y="\d+">(.*?)<title>', bar)
    assert shown == ["a customer who moved twice and f… · gpt-4o", f"a customer who mov… · {'m' * 19}…"]
    assert {len(one) for one in shown} == {42}
    (alone,) = re.findall(
        r'<text x="0" y="\d+">(.*?)<title>', plots.pass_rates([plots.Bar(long, "good", None)])
    )
    assert alone == f"{long[:41]}…"


def test_a_page_of_no_cell_says_so_and_has_no_empty_tables():
    summary, past, _ = compared()
    page = run_page(summary, past, part=Part((), "--model other"))
    said = " ".join(read(page).said)
    assert "Shown: 0 of 4 cells, by --model other;" in said
    assert "These cells: none." in said
    assert "<h2>" not in page


def test_a_runs_page_has_the_tries_and_the_intervals_that_were_asked_for_and_names_them():
    _, summary = side(RUN_ID, [0.9, 0.5], trials=10)
    usual, asked = run_page(summary), run_page(summary, tries=(3,), exact=True)
    assert "Intervals: Wilson" in usual
    assert "90% (60%–98%)" in usual
    assert "k = 8" in usual
    assert "Intervals: exact (Clopper-Pearson)" in asked
    assert "90% (55%–99%)" in asked  # 0.5550 to 0.9975
    assert re.findall(r"k = (\d+)", asked) == ["3"]
    assert '100%<br><span class="quiet">70%<br>' in asked  # C(9, 3) / C(10, 3)
    read(asked)
    usual_low, asked_low = (
        float(re.search(r'stroke-width="2" x1="([\d.]+)"', page)[1]) for page in (usual, asked)
    )
    assert asked_low < usual_low  # drawn as it is told


def test_a_cell_that_stopped_early_keeps_its_interval_and_a_page_says_what_was_saved():
    _, summary = side(RUN_ID, [0.9, 0.5], trials=10)
    stop = Stop(after=10, rule="sprt", reason="", decision="good")
    first = summary.cells[0].model_copy(update={"early_stop": stop, "trials": 40, "skipped": {DECIDED: 30}})
    page = run_page(summary.model_copy(update={"cells": (first, summary.cells[1])}), exact=True)
    assert "exact (Clopper-Pearson) (1 cell) · always-valid, for cells that stopped early (1 cell)" in page
    assert "30 trials, about $0.3000" in page


def test_a_comparisons_page_shows_both_sides_and_what_regressed_first():
    _, _, page = compared()
    said = read(page).said
    text = " ".join(said)
    assert f"main (run {BASELINE_ID})" in text
    assert "95% → 60%" in text
    cells = [word for word in said if word in ("REGRESSED", "INCONCLUSIVE", "IMPROVED", "SAME")]
    assert cells[1] == "REGRESSED"
    assert text.count("salvo trace ") == 2
    assert "all cells: " in text
    assert "chi-squared" in text


def test_a_comparisons_page_draws_a_stopped_cell_by_what_allows_for_it_and_says_what_to_do():
    before, summary_before = side(BASELINE_ID, [0.95], trials=40)
    now, summary = side(RUN_ID, [0.3], trials=40)
    rows = [
        Row(one.index, "skipped", 0, one.trace_id, reason=DECIDED) if one.index >= 15 else one
        for one in now.rows
    ]
    found = change(Side(now.plan, rows), before)
    page = change_page(found, Sides(), now=summary, before=summary_before)
    said = " ".join(read(page).said)
    assert found.cells[0].interval == "always_valid"
    assert "Stopped early" in said
    assert f"scenario 0: {found.verdict}, {found.reason}" in said
    assert "has no figure" in said
    assert "over all cells" not in said
    assert '<td class="n">stopped</td>' in page
    assert "Stopped early" not in compared()[2]


def test_nothing_that_a_model_or_a_scenario_is_called_acts_in_a_page():
    summary, past, page = compared(name=HOSTILE)
    for one in (page, run_page(summary, past), history_page(past, HOSTILE)):
        read(one)  # which knows every element and attribute that is ours
        assert "\x1b" not in one
        assert "<script" not in one
        assert one.count("alert(1)") >= 3  # it is there to be read


@settings(deadline=None)  # the first page of a process imports what later ones find
@given(st.text(max_size=80))
def test_whatever_a_cell_is_called_the_page_has_the_elements_it_has(name):
    _, summary = side(RUN_ID, [0.5, 1.0], trials=2, name=name or "x")
    _, usual = side(RUN_ID, [0.5, 1.0], trials=2, name="x")
    assert read(run_page(summary)).seen == read(run_page(usual)).seen


def test_a_page_of_the_past_plots_each_cell_with_an_interval_at_every_run():
    runs = []
    for age, rate in enumerate([0.9, 0.8, None, 0.5]):
        _, summary = side(f"{RUN_ID[:-1]}{age}", [rate, 1.0], age=age)
        runs.append(PastRun(summary, summary.cells))
    cells = runs[3].cells
    edited = (cells[0].model_copy(update={"scenario_digest": "e" * 64}), cells[1])
    runs[3] = PastRun(runs[3].summary, edited)
    page = history_page(History(tuple(runs)), "schedule 'nightly'")
    read(page)
    assert page.count("<circle") == 3 + 4
    assert page.count('class="edit"') == 1
    assert page.count('class="path"') == 1 + 3  # no line leads over a gap
    assert "90% → 50%, 3 runs" in page
    assert "20 of 40 passed, 50% (35–65)" in page
    assert "schedule &#x27;nightly&#x27;" in page
    assert page.index(f"<code>{RUN_ID[:18]}") > page.index("Runs, newest first")


@pytest.mark.parametrize("runs", [0, 1])
def test_a_page_of_a_past_without_two_runs_has_no_plot_and_says_so(runs):
    _, summary = side(RUN_ID, [0.9])
    page = history_page(History((PastRun(summary, summary.cells),) * runs))
    assert "svg" not in read(page).seen
    assert ("No cell was graded in two of these runs" in page) == bool(runs)


def test_of_a_long_past_the_newest_runs_are_plotted_and_it_says_so():
    _, summary = side(RUN_ID, [0.9], trials=2)
    page = history_page(History((PastRun(summary, summary.cells),) * 150))
    assert page.count("<circle") == 120
    assert "The newest 120 of 150 runs." in page


def test_a_page_loads_and_runs_nothing_and_the_browser_is_told_so():
    _, _, page = compared()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.S)
    mark = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"(?:https?:)?//", page)


def test_it_can_be_read_in_print_and_in_the_dark():
    page = run_page(side(RUN_ID, [1.0])[1])
    assert "@media print" in page
    assert "prefers-color-scheme:dark" in page


def test_of_many_cells_some_are_shown_and_it_says_so():
    page = run_page(side(RUN_ID, [1.0] * 230, trials=1)[1])
    assert "30 more cells not shown" in page


@pytest.mark.parametrize(
    ("most", "step"), [(0.0, 0.01), (1.0, 0.2), (0.012, 0.005), (0.011, 0.005), (5.0, 1.0), (7.3, 2.0)]
)
def test_costs_are_marked_at_round_places(most, step):
    assert plots._step(most) == pytest.approx(step)


@given(st.floats(1e-9, 1e6))
def test_a_scale_of_costs_has_five_steps_at_most_and_reaches_the_dearest(most):
    step = plots._step(most)
    assert 0 < most / step <= 5 * (1 + 1e-6)
    drawn = plots.cost_against_rate([plots.Spot(1, "a", "good", most, 0.5)])
    (x,) = re.findall(r'<circle class="good" cx="([\d.]+)"', drawn)
    assert float(x) <= plots.WIDTH


def test_a_spot_has_the_number_of_its_row_though_others_are_left_out():
    now, summary = side(RUN_ID, [None, 0.5])
    page = run_page(summary)
    assert re.findall(r">(\d+)</text>", page) == ["2"]
    assert len(now.plan.cells) == 2


def test_without_a_known_cost_there_is_no_plot_of_it():
    assert plots.cost_against_rate([]) == ""
