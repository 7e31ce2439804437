"""A comparison as people and programs see it: terminal, Markdown, JUnit XML, workflow commands."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xmlschema import XMLSchema

from salvo_cli.comparison_files import change_annotations, tell_ci
from salvo_cli.render.change import Sides, change, ranked
from salvo_cli.render.console import Marks
from salvo_cli.render.junit import WHOLE, junit
from salvo_cli.render.markdown import change_markdown
from salvo_cli.workflow import workflow_commands
from salvo_core.manifest.rows import Row
from salvo_core.run.change import Demands, Side
from salvo_core.run.change import change as changed
from salvo_core.run.stopping import DECIDED
from salvo_core.settings import resolve
from tests.unit.cli.drawing import drawn
from tests.unit.run.builders import plan
from tests.unit.run.test_change import BASELINE_ID, rows

HOSTILE = (
    "x <script>alert(1)</script> [click](http://evil) @all `$(id)` \x1b[31m | ::error::\n# head & \"'\ufffe"
)


def found(now, before, *, trials=100, name="", label="", models=("gpt-4o", "gpt-4o")):
    order = plan(trials=trials, cells=len(now))
    cells = [
        cell.model_copy(
            update={
                "scenario_name": name or cell.scenario_name,
                "scenario_file": f"{number}.yaml",
                "assertions": (label or "says 42", "second"),
            }
        )
        for number, cell in enumerate(order.cells)
    ]
    candidate, baseline = (
        order.model_copy(update={"cells": tuple(cell.model_copy(update={"model": model}) for cell in cells)})
        for model in models
    )
    baseline = baseline.model_copy(update={"run_id": BASELINE_ID})
    return changed(Side(candidate, rows(candidate, *now)), Side(baseline, rows(baseline, *before)), Demands())


FALLEN = ([(98, 2), (60, 40), (90, 10)], [(70, 30), (95, 5), (90, 10)])


def shown(one, width=80, **sides):
    return drawn(change(one, sides=Sides(**sides), width=width, signs=Marks()), width)


@pytest.mark.parametrize("width", [80, 160])
def test_it_says_which_is_against_which_and_the_worst_comes_first(width):
    text = shown(found(*FALLEN), width, baseline="main")
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith("✗ REGRESSED")
    assert "against main (run 0199c2f4" in text
    lines = [line for line in text.splitlines() if line.startswith("scenario")]
    assert [line.split()[1] for line in lines[:3]] == ["1", "2", "0"]
    assert "95% → 60%" in text
    assert "-35 (" in text


def test_what_fell_is_explained_by_the_assertion_that_moved_most_and_two_traces():
    text = shown(found(*FALLEN))
    explained = text.partition("\nscenario 1\n")[2]
    assert "passed 60 of 100, before 95 of 100" in explained
    assert "says 42: failed 40 of 100, before 5 of 100" in explained
    assert len(re.findall(r"salvo trace [0-9a-f-]{36}   (?:fails now|passed then)", explained)) == 2


def test_cost_latency_and_tokens_stand_beside_the_cells_where_there_is_room_and_below_where_not():
    one = found(*FALLEN)
    assert "would show" in shown(one, 160).partition("\nscenario 1")[0]
    assert "would show" not in shown(one, 80).partition("\nscenario 1")[0]
    assert shown(one, 80).count("x1.00 (1.00-1.00)") == shown(one, 160).count("x1.00 (1.00-1.00)") == 9


def test_all_cells_together_are_told_with_both_tests_and_one_cell_speaks_for_itself():
    one = found(*FALLEN)
    told = " ".join(shown(one).split())
    assert f"all cells: {100 * one.difference:+.1f} points (" in told
    assert f"exact p {one.p_worse:.2g}, chi-squared {one.chi_squared:.2f} with p {one.p:.2g}" in told
    assert "chi&#45;squared" in change_markdown(one, Sides())
    alone = found([(9, 1)], [(9, 1)], trials=10)
    assert "all cells:" not in shown(alone) + change_markdown(alone, Sides())


def stopped_early():
    order = plan(trials=50)
    baseline = order.model_copy(update={"run_id": BASELINE_ID})
    now = [
        Row(one.index, "skipped", 0, one.trace_id, reason=DECIDED) if one.index > 14 else one
        for one in rows(order, (12, 3))
    ]
    return changed(Side(order, now), Side(baseline, rows(baseline, (48, 2))), Demands())


@pytest.mark.parametrize("width", [80, 160])
def test_what_stopped_early_is_told_with_its_reason_and_what_to_do_next(width):
    text = " ".join(shown(stopped_early(), width).split())
    assert "stopped early; intervals and p allow for it, rates lean towards what stopped them" in text
    assert "scenario 0: INCONCLUSIVE, 96% then, 80% now, but the candidate stopped early after 15" in text
    assert "without --early-stop to tell" in text
    assert "stopped early" not in shown(found(*FALLEN), width)
    markdown = change_markdown(stopped_early(), Sides())
    assert "- scenario 0&#58; INCONCLUSIVE, 96% then" in markdown
    assert "Stopped early;" not in change_markdown(found(*FALLEN), Sides())


@pytest.mark.parametrize("width", [80, 160])
def test_where_no_fall_can_be_named_that_would_have_shown_it_says_why(width):
    one = stopped_early()
    assert (one.cells[0].detectable, one.cells[0].undetectable) == (None, "stopped_early")
    text = shown(one, width)
    assert max(map(len, text.splitlines())) <= width
    assert ("would show" if width == 160 else "would  \n") in text
    assert any(line.rstrip().endswith(" stopped") for line in text.splitlines())
    assert "has no figure: a deeper one would have stopped them" in " ".join(text.split())
    markdown = change_markdown(one, Sides())
    assert " | stopped | " in markdown
    assert "has no figure" in markdown
    few = found([(1, 0)], [(1, 0)], trials=1)
    assert few.cells[0].undetectable == "too_few_trials"
    assert "  nothing" in shown(few, width)
    many = found(*FALLEN)
    assert many.cells[0].undetectable is None
    assert "no figure" not in shown(many, width)


def test_two_models_are_both_named():
    assert "gpt-5, was gpt-4o" in shown(found([(9, 1)], [(9, 1)], trials=10, models=("gpt-5", "gpt-4o")), 160)


def test_cells_without_a_grade_have_dashes_for_figures():
    text = shown(found([(0, 0)], [(9, 1)], trials=10))
    assert "90% → -" in text
    assert "INCONCLUSIVE" in text


def test_hundreds_of_cells_are_cut_and_it_says_so():
    text = shown(found([(9, 1)] * 80, [(9, 1)] * 80, trials=10))
    assert "and 20 more cells: --json has all" in text


def test_regressions_are_ranked_by_how_far_they_fell():
    one = found([(60, 40), (40, 60)], [(95, 5), (95, 5)])
    assert ranked(one.cells) == [1, 0]


def test_markdown_makes_nothing_of_names():
    text = change_markdown(found(*FALLEN, name=HOSTILE, label=HOSTILE, models=(HOSTILE, HOSTILE)), Sides())
    for mark in ("<script", "](http", "@all", "`$(", "\x1b", "| ::error"):
        assert mark not in text
    table_lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table_lines} == {10}
    assert len(table_lines) == 2 + 3


def test_markdown_has_the_verdict_the_table_and_the_commands():
    text = change_markdown(found(*FALLEN), Sides(baseline="main"))
    assert text.startswith("### ❌ REGRESSED: 3 cells compared\n")
    assert "| ❌ REGRESSED | scenario 1 | 95% → 60% |" in text
    assert text.count("`salvo trace ") == 2
    assert text.endswith("\n")


SCHEMA = XMLSchema(Path(__file__).with_name("junit.xsd"))


def checked(text):
    """Hold a document to the schema and its counts to its cases; return what each case holds."""
    SCHEMA.validate(text)
    root = ElementTree.fromstring(text.encode())
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))
    return {case.get("name"): [child.tag for child in case] for case in cases}


def test_junit_has_one_test_case_for_each_cell_and_keeps_the_schema():
    cases = checked(junit(found(*FALLEN), Sides(baseline="main"), strict=False))
    assert cases == {
        "scenario 0": ["system-out"],
        "scenario 1": ["failure", "system-out"],
        "scenario 2": ["skipped", "system-out"],
    }


def test_junit_survives_names_that_xml_cannot_hold():
    text = junit(found(*FALLEN, name=HOSTILE, label=HOSTILE), Sides(), strict=True)
    checked(text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", text)
    assert "<script>" not in text


@settings(deadline=None, max_examples=60)
@given(name=st.text(min_size=1), label=st.text(), strict=st.booleans())
@example(name="half \ud800 of a pair", label="\udc00", strict=True)
@example(name="]]>", label="&#0;<![CDATA[", strict=False)
def test_whatever_a_scenario_or_an_assertion_says_the_file_is_xml_that_keeps_the_schema(name, label, strict):
    one = found([(2, 8)], [(10, 0)], trials=10, name=name, label=label, models=(name, name))
    (case,) = checked(junit(one, Sides(candidate=label, baseline=name), strict=strict)).values()
    assert case == ["failure", "system-out"]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('<testcase name="', '<testcase nom="'),
        (' tests="3"', ""),
        ('time="0">\n    <properties>', 'time="soon">\n    <properties>'),
        ("<system-out>", "<said>"),
        ("</testsuites>", "<testcase name='x'/></testsuites>"),
    ],
)
def test_what_breaks_the_schema_is_found(good, bad):
    text = junit(found(*FALLEN), Sides(), strict=False)
    assert good in text
    broken = text.replace(good, bad).replace("</system-out>", "</said>" if "said" in bad else "</system-out>")
    assert not SCHEMA.is_valid(broken)


@pytest.mark.parametrize(("strict", "tag"), [(True, "failure"), (False, "skipped")])
def test_what_cannot_be_told_fails_only_where_the_gate_does(strict, tag):
    cases = checked(junit(found([(9, 1)], [(9, 1)], trials=10), Sides(), strict=strict))
    assert cases == {"scenario 0": [tag, "system-out"]}


def test_a_fall_that_no_cell_shows_alone_has_a_test_case_of_its_own():
    one = found([(32, 8)] * 12, [(37, 3)] * 12, trials=40)
    assert one.verdict == "REGRESSED"
    cases = checked(junit(one, Sides(), strict=False))
    assert len(cases) == 13
    assert cases[WHOLE] == ["failure"]


def commands(one, **more):
    return workflow_commands(change_annotations(one, **more))


def test_workflow_commands_are_errors_where_the_gate_fails_and_stay_one_line_each():
    one = found(*FALLEN, name=HOSTILE)
    (line,) = commands(one, gated=True)
    assert line.startswith("::error title=")
    assert "\n" not in line
    title = line.removeprefix("::error title=").partition("::")[0]
    assert ":" not in title
    assert "," not in title
    assert commands(found(*FALLEN), gated=False)[0].startswith("::warning title=scenario 1::REGRESSED")
    assert commands(found([(480, 20)], [(480, 20)], trials=500), gated=False) == []
    (told,) = commands(found([(9, 1)], [(9, 1)], trials=10), gated=True)
    assert told.startswith("::error title=salvo compare::INCONCLUSIVE: ")


def test_the_steps_summary_is_added_to_and_one_that_cannot_be_written_costs_nothing(tmp_path, capsys):
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    tell_ci(resolve({"GITHUB_STEP_SUMMARY": str(file)}), found(*FALLEN), Sides(), gated=True)
    assert re.fullmatch(r"before\n\n<!-- salvo \w{16} -->\n### ❌ REGRESSED.*", file.read_text("utf-8"), re.S)
    assert capsys.readouterr().err == ""
    tell_ci(resolve({"GITHUB_STEP_SUMMARY": str(tmp_path)}), found(*FALLEN), Sides(), gated=True)
    assert "warning: the step's summary cannot be written" in capsys.readouterr().err


def test_elsewhere_nobody_is_told_anything(capsys):
    tell_ci(resolve({}), found(*FALLEN), Sides(), gated=True)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", [80, 160])
def test_names_however_long_or_hostile_stay_within_the_terminal_and_act_on_nothing(width):
    long = "a conversation of many turns with somebody who changes their mind about the refund"
    for name in (long, HOSTILE):
        text = shown(found(*FALLEN, name=name, label=name), width)
        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text
        assert "-35 (-45 to -24)" in text
