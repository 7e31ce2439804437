"""What a workflow's step is told of a run: added to, bounded, said once, and nothing in it acts."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_cli import workflow
from salvo_cli.render.part import Part
from salvo_cli.render.run_markdown import run_markdown
from salvo_cli.workflow import (
    ANNOTATED_MAX,
    FILE_BYTES_MAX,
    SECTION_BYTES_MAX,
    Annotation,
    tell_of_run,
    tell_workflow,
    workflow_commands,
)
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.summary import summarise
from salvo_core.settings import resolve
from tests.unit.cli.test_change import HOSTILE
from tests.unit.run.builders import plan, row, rows


def summary(*statuses, cells=1, name="", **more):
    order = plan(trials=len(statuses) // cells, cells=cells, assertions=(name or "says 42", "second"))
    order = order.model_copy(
        update={
            "cells": tuple(
                cell.model_copy(update={"scenario_name": f"{name}{number}", "model": name or "gpt-4o"})
                for number, cell in enumerate(order.cells)
            )
        }
    )
    given_rows = [
        row(one.index, one.status, failed=((0, 0.0),)) if one.status == "failed" else one
        for one in rows(*statuses)
    ]
    facts = {
        place: [AssertionFacts(label) for label in cell.assertions] for place, cell in enumerate(order.cells)
    }
    made = summarise(order, given_rows, facts, started_ms=1_000, finished_ms=9_000, state="sealed")
    return made.model_copy(update=more)


@pytest.fixture
def step(tmp_path):
    file = tmp_path / "summary.md"
    return resolve({"GITHUB_STEP_SUMMARY": str(file), "GITHUB_ACTIONS": "true"}), file


def test_a_run_is_added_to_what_the_step_has_said_and_annotated_by_cell(step, capsys):
    here, file = step
    file.write_text("| a table |", "utf-8")
    tell_of_run(here, summary(1, 0, 1, 0, cells=2), failing=True)
    text = file.read_text("utf-8")
    assert text.startswith("| a table |\n<!-- salvo ")
    assert "### ❌ FAIL: 2 cells" in text
    assert text.index("| ❌ FAIL | 1 | 0/2") < text.index("| ✅ PASS | 0 | 2/2")
    assert re.search(r"- \*\*1\*\*: says 42 failed 2 of 2: `salvo trace [0-9a-f-]{36}`", text)
    assert capsys.readouterr().err.splitlines() == [
        "::error title=1::FAIL: average score 0.00 is below the threshold 0.80; 0 of 2 trials passed"
    ]


def test_of_a_report_of_some_cells_only_these_are_told_and_annotated(step, capsys):
    here, file = step
    tell_of_run(here, summary(1, 0, 1, 0, cells=2), failing=False, part=Part((0,), "--scenario 0"))
    text = html.unescape(file.read_text("utf-8"))
    assert "### ❌ FAIL: 2 cells" in text
    assert "shown: 1 of 2 cells, by --scenario 0; the verdict is the whole run's" in text
    assert "| ✅ PASS | 0 | 2/2" in text
    assert "| ❌ FAIL | 1" not in text
    assert "salvo trace" not in text
    assert capsys.readouterr().err == ""


def test_a_run_that_passed_is_in_the_summary_and_in_no_annotation(step, capsys):
    here, file = step
    tell_of_run(here, summary(1, 1), failing=False)
    assert "### ✅ PASS: 1 cell\n" in file.read_text("utf-8")
    assert capsys.readouterr().err == ""


def test_a_run_and_its_report_in_one_step_say_it_once_and_what_changed_is_said_again(step, capsys):
    here, file = step
    going_on = summary(0, "pending", state="running")
    tell_of_run(here, going_on, failing=False)
    assert "::warning title=0::" in capsys.readouterr().err
    for _ in range(2):
        tell_of_run(here, summary(0, 0), failing=True)
    assert file.read_text("utf-8").count("### ") == 2
    assert "running: these figures will change" in file.read_text("utf-8").replace("&#58;", ":")
    assert capsys.readouterr().err.count("::error") == 1


def test_elsewhere_nothing_is_rendered_or_said(monkeypatch, capsys):
    def never():
        raise AssertionError

    tell_workflow(resolve({}), never, list)
    tell_of_run(resolve({}), summary(0), failing=True)
    assert capsys.readouterr().err == ""


def test_a_summary_that_is_full_or_cannot_be_written_costs_nothing_else(step, tmp_path, capsys):
    here, file = step
    file.write_bytes(b"x" * (FILE_BYTES_MAX - 100))
    tell_of_run(here, summary(0), failing=True)
    assert file.stat().st_size == FILE_BYTES_MAX - 100
    said = capsys.readouterr().err
    assert "the step's summary is full" in said
    assert "::error title=0::" in said
    tell_of_run(resolve({"GITHUB_STEP_SUMMARY": str(tmp_path)}), summary(0), failing=True)
    assert "the step's summary cannot be written" in capsys.readouterr().err


def test_a_section_is_cut_at_a_line_and_says_so(step):
    here, file = step
    tell_workflow(here, lambda: "é" * 99 + "\n" + ("line of a section\n" * 20_000), list)
    text = file.read_text("utf-8")
    assert SECTION_BYTES_MAX - 100 < len(text.encode()) < SECTION_BYTES_MAX + 200
    assert text.endswith("line of a section\n\n(cut here: `salvo report` has all)\n")


def test_no_more_is_annotated_than_github_shows():
    many = [Annotation(str(number), "m", error=False) for number in range(30)]
    assert len(workflow_commands(many)) == ANNOTATED_MAX


def test_a_run_of_many_cells_has_a_bounded_table():
    text = run_markdown(summary(*[0] * 90, cells=90))
    assert text.count("| ❌ FAIL |") == 60
    assert "and 30 more cells" in text
    assert "- and 85 more" in text


@settings(deadline=None)
@given(st.text(max_size=60) | st.just(HOSTILE))
def test_nothing_that_a_run_is_made_of_acts_in_markdown_or_in_a_workflow_command(name):
    one = summary("failed", "infra_error", 1, 1, cells=2, name=name)
    errors = tuple(error.model_copy(update={"message": name}) for error in one.cells[1].infra_errors)
    one = one.model_copy(
        update={
            "reason": name,
            "cells": (one.cells[0], one.cells[1].model_copy(update={"infra_errors": errors})),
        }
    )
    lines = run_markdown(one).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {7}
    assert len(table) == 2 + 2
    for line in lines[2:]:
        bare = re.sub(r"&#\d+;|`(?:salvo trace )?[0-9a-f-]{36}`|<!-- .* -->", "", line)
        assert not re.search(r"[<>\[\]@\x00-\x1f]", bare)
    for command in workflow_commands([Annotation(name, name, error=True)]):
        head, title, _ = re.split(r" title=|::", command.removeprefix("::"), maxsplit=2)
        assert (head, "," in title) == ("error", False)
        assert not re.search(r"[\r\n]", command)


def test_the_marks_of_two_runs_differ():
    texts = {run_markdown(summary(1)), run_markdown(summary(1).model_copy(update={"run_id": "other"}))}
    assert len(texts) == 2
    assert workflow.FILE_BYTES_MAX < 1024 * 1024
