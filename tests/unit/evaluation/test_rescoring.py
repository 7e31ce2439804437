"""Which recorded findings stand, and what is asked again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.rescoring import (
    asks_the_same,
    cost_of_new_usd,
    divide,
    judged_before,
    kinds,
    known_votes,
)
from salvo_core.evaluation.shorthand import canonical
from salvo_core.trace.model import Finding, Judged, Judgement, Vote
from tests.unit.evaluation.builders import trace


def spec(raw):
    return parse(canonical(raw))


A = {"type": "output_contains", "value": "a"}
B = {"type": "tool_called", "tool": "b"}
CUSTOM = {"type": "custom", "function": "my.check"}
JUDGE = {"type": "judge", "criteria": [{"name": "kind", "description": "Is it?"}]}


def found(*assertions, **of):
    return [
        Finding(
            assertion=place, type=one.type, label=one.label(), score=1, passed=True,
            weight=one.weight, required=one.required, **of.get(f"at{place}", {}),
        )
        for place, one in enumerate(assertions)
    ]  # fmt: skip


def divided(now, then, **how):
    specs = [spec(one) for one in then]
    findings = how.pop("findings", None) or found(*specs)
    return divide([spec(one) for one in now], specs, findings, **how)


def test_what_did_not_change_stands_wherever_it_has_moved_and_counts_as_it_does_now():
    division = divided([B | {"weight": 3, "required": True}, A], [A, B])
    assert (division.again, division.left_out) == ((), ())
    assert [(f.assertion, f.weight, f.required) for f in division.kept.values()] == [
        (0, 3, True),
        (1, 1, False),
    ]
    assert division.origin == {0: 1, 1: 0}


def test_what_changed_or_is_new_is_checked_again():
    division = divided([A | {"value": "b"}, B, {"type": "latency_limit", "max_seconds": 1}], [A, B])
    assert (division.again, set(division.kept)) == ((0, 2), {1})


def test_a_check_that_could_not_be_made_is_made_again():
    specs = [spec(A), spec(B)]
    division = divided([A, B], [A, B], findings=found(*specs, at0={"error": "timed out"}))
    assert division.again == (0,)


@pytest.mark.parametrize(
    "inside", [CUSTOM, {"type": "any_of", "assertions": [A, CUSTOM]}, {"type": "not", "assertion": CUSTOM}]
)
def test_a_teams_own_function_is_always_called_again(inside):
    assert divided([inside, A], [inside, A]).again == (0,)
    assert divided([inside, A], [inside, A], judging="only").again == ()


@pytest.mark.parametrize("inside", [JUDGE, {"type": "all_of", "assertions": [A, JUDGE]}])
def test_judges_are_heard_skipped_or_the_only_ones(inside):
    assert divided([inside, A], [inside, A]).again == (0,)
    assert divided([inside, A], [inside, A], judging="skip").again == ()
    assert divided([inside, A | {"value": "z"}], [inside, A], judging="only").again == (0, 1)
    assert divided([inside], [A], judging="skip").left_out == (0,)


def test_a_judge_that_would_read_a_text_with_holes_is_not_asked_unless_anew():
    assert divided([JUDGE], [JUDGE], redacted=True).again == ()
    assert divided([JUDGE], [JUDGE], redacted=True, fresh_votes=True).again == (0,)
    undecided = found(spec(JUDGE), at0={"error": "no quorum", "infra": True})
    assert divided([JUDGE], [JUDGE], redacted=True, findings=undecided).again == (0,)


def test_without_content_what_needs_it_is_left_out_even_if_it_did_not_change():
    division = divided([A, B, JUDGE], [A, B, JUDGE], content=False)
    assert (division.left_out, set(division.kept)) == ((0, 2), {1})


def test_of_one_scenario_places_are_enough_to_tell_what_is_not_known_any_more():
    division = divide([None, spec(B)], [None, spec(B)], found(spec(A), spec(B)), same=True)
    assert (set(division.kept), division.again, division.left_out) == ({0, 1}, (), ())
    assert divide([None], [None], found(spec(A)), same=True, content=False).left_out == (0,)
    assert divide([None], [None], [], same=True).left_out == (0,)


def test_of_a_recording_whose_scenario_is_gone_everything_is_checked_again():
    division = divide([spec(A), spec(B)], (), found(spec(A), spec(B)))
    assert (division.again, division.kept) == ((0, 1), {})


POOL = [A, B, CUSTOM, JUDGE, {"type": "latency_limit", "max_seconds": 1}, {"type": "not", "assertion": A}]
LISTS = st.lists(st.sampled_from(POOL), max_size=6)


@given(LISTS, LISTS, st.sampled_from(["too", "skip", "only"]), st.booleans(), st.booleans(), st.booleans())
def test_every_assertion_is_kept_asked_again_or_left_out_and_never_two_of_them(
    now, then, judging, fresh, redacted, content
):
    division = divided(now, then, judging=judging, fresh_votes=fresh, redacted=redacted, content=content)
    places = [*division.kept, *division.again, *division.left_out]
    assert sorted(places) == list(range(len(now)))
    assert division.kept.keys() == division.origin.keys()
    for place, finding in division.kept.items():
        assert finding.assertion == place
        assert asks_the_same(spec(now[place]), spec(then[division.origin[place]]))


def test_the_kinds_of_a_group_are_those_of_all_inside():
    nested = {"type": "not", "assertion": {"type": "any_of", "assertions": [A, JUDGE]}}
    assert kinds(spec(nested)) == {"not", "any_of", "output_contains", "judge"}


def judgement(request="q1", *votes, assertions=(0,)):
    return Judgement(
        request=request, assertions=assertions, adapter="judge", model="m", temperature=0.0,
        max_tokens=100, weights={"kind": 1.0}, votes=votes,
    )  # fmt: skip


HEARD = Vote(number=0, scores={"kind": 1.0}, cost_usd=0.5)
FAILED = Vote(number=1, error="unreadable", error_kind="unreadable", cost_usd=0.25)


def test_failed_votes_count_again_unless_they_are_why_nothing_was_decided():
    decided = trace(findings=tuple(found(spec(JUDGE))), judgements=(judgement("q1", HEARD, FAILED),))
    assert known_votes(decided) == {("q1", 0): HEARD, ("q1", 1): FAILED}
    undecided = decided.model_copy(
        update={"findings": tuple(found(spec(JUDGE), at0={"error": "e", "infra": True}))}
    )
    assert known_votes(undecided) == {("q1", 0): HEARD}


def test_only_new_votes_cost_and_one_unknown_price_makes_the_sum_unknown():
    past = {("q1", 0): HEARD}
    assert cost_of_new_usd([judgement("q1", HEARD)], past) == 0
    assert cost_of_new_usd([judgement("q1", HEARD, FAILED)], past) == 0.25
    assert cost_of_new_usd([judgement("q2", HEARD)], past) == 0.5
    unpriced = Vote(number=1, scores={"kind": 1.0})
    assert cost_of_new_usd([judgement("q1", HEARD, unpriced)], past) is None


def test_what_findings_that_stand_rest_on_moves_with_them():
    told = Judged(assertion=1, request="q1", k=1, threshold=0.7, heard=1, in_favour=1)
    recorded = trace(
        judgements=(judgement("q1", HEARD, assertions=(1,)), judgement("q2", HEARD)), judged=(told,)
    )
    judgements, judged = judged_before(recorded, {4: 1, 5: 1})
    assert [(one.request, one.assertions) for one in judgements] == [("q1", (4, 5))]
    assert [one.assertion for one in judged] == [4, 5]
