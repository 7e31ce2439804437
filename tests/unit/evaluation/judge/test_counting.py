"""What votes come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.grading import evaluate, grade
from salvo_core.evaluation.judge.ballot import quorum
from salvo_core.evaluation.judge.counting import count, verdict_of
from tests.unit.evaluation.builders import trace
from tests.unit.evaluation.judge.court import ballot, judge

GOOD, BAD = {"good": 1.0}, {"good": 0.0}
LOST = "no scores are in the judge's answer: 'hm'"


def same(value):
    return value


def came_to(*votes, **more):
    """(score, passed, whether infrastructure failed)."""
    check = verdict_of(ballot(*votes, **({"weights": {"good": 1.0}} | more)), same)
    return check.score, check.passed, check.infra


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ((GOOD, GOOD, BAD), (1.0, True, False)),
        ((GOOD, BAD, BAD), (0.0, False, False)),
        ((GOOD, BAD), (0.5, False, False)),  # a tie is no majority
        ((GOOD, GOOD, LOST), (1.0, True, False)),
        ((GOOD, BAD, LOST), (0.5, False, False)),
        ((GOOD, LOST, LOST), (0.0, False, True)),  # 0.1 passed this: one vote of three is no judgement
        ((LOST, LOST, LOST), (0.0, False, True)),
        ((GOOD,), (1.0, True, False)),
        ((GOOD, LOST), (0.0, False, True)),
        (({"good": 0.8},), (0.8, True, False)),
        (({"good": 0.7999999999999999},), (0.7999999999999999, True, False)),
    ],
)
def test_t49_votes_pass_by_a_strict_majority_of_those_heard_if_enough_were(votes, expected):
    assert came_to(*votes) == expected


def test_t50_a_perfect_score_without_a_majority_has_not_passed():
    split = [{"a": 1.0, "b": 0.5}, {"a": 0.5, "b": 1.0}, {"a": 1.0, "b": 1.0}]
    check = verdict_of(ballot(*split), same)
    assert (check.score, check.passed, check.error) == (1.0, False, None)
    assert check.details == "sim/judge: 3 of 3 votes heard, 1 in favour (from 0.8); a 1.00, b 1.00"
    for required, expected in ((False, "passed"), (True, "hard_fail")):
        one = judge("a", "b", required=required)
        findings = evaluate(trace(), [one], ballots={one: ballot(*split)})
        assert grade(findings, 0.8, outcome="completed").grade == expected


def test_criteria_count_by_weight():
    both = {"weights": {"a": 3.0, "b": 1.0}}
    assert verdict_of(ballot({"a": 1.0, "b": 0.0}, **both), same).score == 0.75
    assert verdict_of(ballot({"a": 0.0, "b": 1.0}, **both), same).score == 0.25


def test_a_criterion_left_out_counts_against_its_own_vote_and_not_in_the_median():
    counted = count(ballot({"a": 1.0}, {"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.8}, weights={"a": 1, "b": 1}))
    assert counted.medians == {"a": 1.0, "b": 0.9}
    assert (counted.score, counted.in_favour) == (0.95, 2)


def test_a_criterion_that_nobody_scored_counts_nothing_and_is_named():
    check = verdict_of(ballot({"a": 1.0}, weights={"a": 1, "b": 1}), same)
    assert (check.score, check.passed) == (0.5, False)
    assert "b not scored" in check.details


def test_without_a_quorum_the_check_says_how_many_were_heard_and_why_without_secrets():
    why = "the score of good is 'sk-secret', not a number"
    check = verdict_of(ballot(GOOD, why, why), lambda text: text.replace("sk-secret", "***"))
    assert check.error == (
        "1 of 3 votes could be read, and it takes 2: the score of good is '***', not a number"
    )
    assert (check.infra, check.passed, check.score) == (True, False, 0.0)


def test_a_judge_that_nobody_asked_is_no_failure_of_the_agent():
    check = judge().check(Document(trace()))
    assert check.infra
    assert "workers" in check.error
    (finding,) = evaluate(trace(), [judge()])
    assert (finding.infra, finding.passed, finding.label) == (True, False, "judge good")


YES, NO = {"type": "output_contains", "value": "done"}, {"type": "output_contains", "value": "nonesuch"}
BROKEN = {"type": "custom", "function": "my_pkg.checks.broken"}
SILENT = {"type": "judge", "criteria": [{"name": "good", "description": "is it?"}]}


@pytest.mark.parametrize(
    ("raw", "expected"),  # (passed, error, infra)
    [
        ({"type": "not", "assertion": SILENT}, (False, True, True)),
        ({"type": "any_of", "assertions": [SILENT, NO]}, (False, True, True)),
        ({"type": "any_of", "assertions": [SILENT, YES]}, (True, False, False)),
        ({"type": "all_of", "assertions": [SILENT, YES]}, (False, True, True)),
        ({"type": "all_of", "assertions": [SILENT, NO]}, (False, False, False)),
        ({"type": "all_of", "assertions": [BROKEN, SILENT]}, (False, True, True)),
        ({"type": "any_of", "assertions": [BROKEN, NO]}, (False, True, False)),
        ({"type": "not", "assertion": {"type": "all_of", "assertions": [SILENT, NO]}}, (True, False, False)),
    ],
)
def test_a_group_that_hangs_on_a_judge_who_was_not_heard_counts_neither_way(raw, expected):
    check = parse(raw).check(Document(trace()))
    assert (check.passed, check.error is not None, check.infra) == expected


def test_a_judge_works_inside_groups():
    group = parse({"type": "not", "assertion": SILENT})
    (finding,) = evaluate(trace(), [group], ballots={parse(SILENT): ballot(BAD)})
    assert (finding.passed, finding.infra, finding.error) == (True, False, None)


SCORES = st.floats(0, 1)
BALLOTS = st.integers(1, 21).flatmap(
    lambda k: st.builds(
        lambda votes, threshold, weights: ballot(
            *votes, k=k, threshold=threshold, weights=dict(zip("ab", weights, strict=True))
        ),
        st.lists(
            st.one_of(st.just(LOST), st.fixed_dictionaries({"a": SCORES}, optional={"b": SCORES})),
            min_size=k,
            max_size=k,
        ),
        SCORES,
        st.tuples(st.floats(0, 10), st.floats(0.01, 10)),
    )
)


@given(BALLOTS)
def test_a_score_is_within_0_and_1_and_a_majority_needs_more_than_half(cast):
    check, counted = verdict_of(cast, same), count(cast)
    assert 0 <= check.score <= 1
    assert check.infra == (counted.heard < quorum(cast.k))
    if not check.infra:
        assert check.passed == (counted.in_favour > counted.heard / 2)
        assert 2 * quorum(cast.k) > cast.k
