"""Assertions made of assertions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.grading import Graded, evaluate
from salvo_core.evaluation.groups import DEPTH_MAX, depth
from salvo_core.evaluation.shorthand import ShorthandProblem, canonical, normalised, written_path
from salvo_core.trace.redaction import Redactor
from tests.unit.evaluation.builders import checked, graded, trace

YES, NO = {"contains": "done"}, {"contains": "nonesuch"}
BROKEN = {"type": "custom", "function": "my_pkg.checks.broken"}
"""Without functions to call, a check that cannot be made."""


def outcome(raw):
    """(score, passed, whether it is an error) of an assertion on a trace whose answer is: done."""
    check = checked(raw)
    return check.score, check.passed, check.error is not None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"not": YES}, (0.0, False, False)),
        ({"not": NO}, (1.0, True, False)),
        ({"not": {"not": YES}}, (1.0, True, False)),
        ({"any_of": [NO, YES]}, (1.0, True, False)),
        ({"any_of": [NO, NO]}, (0.0, False, False)),
        ({"all_of": [YES, YES]}, (1.0, True, False)),
        ({"all_of": [YES, NO]}, (0.5, False, False)),
        ({"all_of": [{**YES, "weight": 3}, NO]}, (0.75, False, False)),
        ({"all_of": [{**YES, "weight": 0}, NO]}, (0.0, False, False)),
        ({"all_of": [{**YES, "weight": 0}, {**NO, "weight": 0}]}, (0.5, False, False)),
        ({"any_of": [{"all_of": [YES, NO]}, NO]}, (0.5, False, False)),
        ({"not": {"all_of": [YES, NO]}}, (1.0, True, False)),
    ],
)
def test_a_group_comes_to_what_its_members_come_to(raw, expected):
    assert outcome(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"not": BROKEN}, (0.0, False, True)),
        ({"any_of": [BROKEN, NO]}, (0.0, False, True)),
        ({"any_of": [BROKEN, YES]}, (1.0, True, False)),
        ({"all_of": [BROKEN, YES]}, (0.0, False, True)),
        ({"all_of": [BROKEN, NO]}, (0.0, False, False)),
        ({"not": {"all_of": [BROKEN, NO]}}, (1.0, True, False)),
    ],
)
def test_a_member_that_cannot_be_checked_matters_only_where_it_would_decide(raw, expected):
    assert outcome(raw) == expected


def test_details_tell_which_members_made_it_so():
    told = checked({"all_of": [YES, NO, {"type": "tool_called", "tool": "pay"}]}).details
    assert told.startswith("2 of 3 do not hold: jmespath response.content contains")
    assert "nonesuch" in told
    assert "tool_called pay: 'pay' was not called; no tool calls" in told
    assert checked({"any_of": [YES, NO]}).details == '1 of 2 hold: jmespath response.content contains "done"'
    assert checked({"any_of": [NO]}).details.startswith("none of 1 holds: ")
    assert checked({"all_of": [YES, YES]}).details == "all 2 hold"
    assert checked({"not": YES}).details.startswith("this holds, and must not: response.content contains")
    assert len(checked({"all_of": [NO] * 100}).details) <= 500


def test_a_label_names_the_members_and_fits():
    assert parse(canonical({"not": {"type": "tool_called", "tool": "pay"}})).label() == "not tool_called pay"
    group = parse(canonical({"any_of": [{"type": "tool_called", "tool": "pay"}, {"not": YES}]}))
    assert group.label() == 'any_of [tool_called pay, not jmespath response.content contains "done"]'
    assert len(parse(canonical({"all_of": [YES] * 50})).label()) == 80


def test_weight_and_required_stand_beside_the_group():
    assert graded([{"not": YES, "required": True}, YES]) == Graded(0.5, "hard_fail")
    assert graded([{"all_of": [YES, NO], "weight": 2}, YES]).score == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("raw", "kind", "places"),
    [
        ({"all_of": [YES, {**YES, "required": True}]}, "member_required", [("assertions", 1, "required")]),
        ({"not": {**YES, "required": True}}, "member_required", [("assertion", "required")]),
        ({"any_of": [{**YES, "weight": 2}]}, "member_weight", [("assertions", 0, "weight")]),
        ({"not": {**YES, "weight": 2}}, "member_weight", [("assertion", "weight")]),
        ({"any_of": []}, "no_members", None),
        ({"all_of": [YES] * 101}, "too_long", None),
    ],
)
def test_what_would_have_no_effect_in_a_group_is_refused_there(raw, kind, places):
    with pytest.raises(ValidationError) as caught:
        parse(canonical(raw))
    (error,) = caught.value.errors()
    assert (error["type"], error.get("ctx", {}).get("places")) == (kind, places)


def test_groups_nest_to_a_bound():
    raw = YES
    for _ in range(DEPTH_MAX):
        raw = {"any_of": [raw]}
    assert depth(parse(canonical(raw))) == DEPTH_MAX
    for wrap in ({"not": raw}, {"all_of": [YES, raw]}):
        with pytest.raises(ValidationError, match="5 deep"):
            parse(canonical(wrap))


def test_a_group_quotes_no_secret_of_its_members():
    secret = "hunter2-correct-horse"
    spec = parse(canonical({"all_of": [NO, {"not": {"contains": "x"}}]}))
    (found,) = evaluate(trace(answer=f"x {secret}"), [spec], redact=Redactor([secret]).document)
    assert "[REDACTED]" in found.details
    assert "hunter2" not in found.details


def test_short_forms_are_long_at_every_depth():
    assert canonical({"not": {"any_of": [YES, {"type": "not", "assertion": NO}]}, "weight": 2}) == {
        "type": "not",
        "assertion": {
            "type": "any_of",
            "assertions": [canonical(YES), {"type": "not", "assertion": canonical(NO)}],
        },
        "weight": 2,
    }


def test_everything_without_a_long_form_is_found_and_says_where():
    raw = {
        "any_of": [
            {},
            YES,
            {"not": {"contains": 1, "eq": 2}},
            {"type": "all_of", "assertions": [{"path": "a"}]},
        ]
    }
    long, problems = normalised(raw)
    assert [problem.path for problem in problems] == [
        ("any_of", 0), ("any_of", 2, "not"), ("any_of", 3, "assertions", 0),
    ]  # fmt: skip
    assert parse(long).type == "any_of"
    with pytest.raises(ShorthandProblem) as caught:
        canonical(raw)
    assert caught.value.path == ("any_of", 0)
    assert "contains" in raw["any_of"][2]["not"]


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        ({"not": YES, "contains": "a"}, ["contains", "not"]),
        ({"any_of": [], "all_of": []}, ["any_of", "all_of"]),
    ],
)
def test_a_group_and_something_else_in_one_map_are_a_problem(raw, keys):
    with pytest.raises(ShorthandProblem) as caught:
        canonical(raw)
    assert caught.value.keys == keys


def test_keys_of_the_long_form_of_a_group_do_not_mix_with_the_short_one():
    with pytest.raises(ShorthandProblem, match="`assertion` belongs to the long form"):
        canonical({"not": YES, "assertion": NO})


def test_a_place_in_the_long_form_is_found_in_what_was_written():
    raw = {
        "not": {"any_of": [YES, {"type": "all_of", "assertions": [{"path": "a", "eq": {"assertion": 1}}]}]}
    }
    inner = ("assertion", "assertions", 1, "assertions", 0)
    written = ("not", "any_of", 1, "assertions", 0)
    assert written_path(raw, (*inner, "expression")) == (*written, "path")
    assert written_path(raw, (*inner, "value", "assertion")) == (*written, "eq", "assertion")
    assert written_path(raw, inner) == written
    assert written_path(raw, ("weight",)) == ("weight",)


trees = st.recursive(
    st.sampled_from([(YES, True), (NO, False)]),
    lambda inner: st.one_of(
        inner.map(lambda one: ({"not": one[0]}, not one[1])),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda some: ({"any_of": [one[0] for one in some]}, any(one[1] for one in some))
        ),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda some: ({"all_of": [one[0] for one in some]}, all(one[1] for one in some))
        ),
    ),
    max_leaves=6,
)


@given(trees)
def test_any_tree_of_groups_is_true_when_logic_says_so_and_then_only(tree):
    raw, expected = tree
    try:
        spec = parse(canonical(raw))
    except ValidationError as error:
        assert "deep" in str(error)  # noqa: PT017 - the other way to be right
        return
    check = checked(raw)
    assert check.passed is expected
    assert 0 <= check.score <= 1
    assert (check.score == 1) or not expected
    assert parse(canonical(spec.model_dump(mode="json"))) == spec
