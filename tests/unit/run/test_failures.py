"""Ranked failures: by assertion, worst first."""

import random

from salvo_core.evaluation.catalogue import parse
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.failures import FailureFold, InfraFold
from tests.unit.run.builders import row


def ranked(given_rows, *facts):
    fold = FailureFold(facts)
    for one in given_rows:
        fold.add(one)
    return fold.ranked()


def test_t32_one_failure_of_weight_ten_ranks_above_three_of_weight_one():
    given_rows = [row(index, "failed", failed=((1, 0.0),)) for index in range(3)]
    given_rows.append(row(3, "failed", failed=((0, 0.0),)))
    heavy, light = ranked(given_rows, AssertionFacts("heavy", 10), AssertionFacts("light", 1))
    assert (heavy.label, heavy.fail_count, heavy.weight_lost) == ("heavy", 1, 10)
    assert (light.label, light.fail_count, light.weight_lost) == ("light", 3, 3)


def test_t32_at_most_three_trials_are_named_those_of_lowest_index():
    given_rows = [row(index, "failed", failed=((0, 0.0),)) for index in range(9)]
    random.Random(5).shuffle(given_rows)
    (failure,) = ranked(given_rows, AssertionFacts("a"))
    assert failure.trace_ids == tuple(row(index).trace_id for index in range(3))
    assert failure.fail_count == 9


def test_t32_a_label_has_at_most_80_characters():
    spec = parse({"type": "jmespath", "expression": "a" * 500, "operator": "eq", "value": "b" * 500})
    assert len(spec.label()) <= 80


def test_a_required_assertion_ranks_first():
    given_rows = [row(0, "hard_fail", failed=((0, 0.0), (1, 0.0)))]
    labels = [
        failure.label
        for failure in ranked(
            given_rows, AssertionFacts("heavy", 9), AssertionFacts("musts", 0, required=True)
        )
    ]
    assert labels == ["musts", "heavy"]


def test_ties_are_ranked_by_count_and_then_by_place():
    given_rows = [
        row(0, "failed", failed=((0, 0.0), (1, 0.5), (2, 0.0))),
        row(1, "failed", failed=((1, 0.5),)),
    ]
    facts = [AssertionFacts("a"), AssertionFacts("b"), AssertionFacts("c")]
    assert [failure.label for failure in ranked(given_rows, *facts)] == ["b", "a", "c"]


def test_the_fail_rate_is_over_graded_trials_only():
    given_rows = [row(0, "failed", failed=((0, 0.25),)), row(1), row(2, "infra_error"), row(3, "cancelled")]
    (failure,) = ranked(given_rows, AssertionFacts("a", 2))
    assert failure.fail_rate == 0.5
    assert failure.weight_lost == 1.5


def test_one_assertion_is_one_failure_whatever_the_answers_were_and_two_alike_stay_two():
    given_rows = [row(index, "failed", failed=((0, index / 10), (1, 0.0))) for index in range(5)]
    same = AssertionFacts("same label")
    assert [(one.assertion, one.fail_count) for one in ranked(given_rows, same, same)] == [(1, 5), (0, 5)]


def test_an_assertion_that_the_scenario_does_not_have_is_shown_all_the_same():
    (failure,) = ranked([row(0, "failed", failed=((7, 0.0),))], AssertionFacts("a"))
    assert (failure.assertion, failure.label) == (7, "assertion 7")


def test_infrastructure_errors_are_grouped_by_kind_most_frequent_first():
    fold = InfraFold()
    for index in reversed(range(6)):
        kind = "rate_limited" if index % 3 else "authentication"
        fold.add(row(index, "infra_error", error=kind))
    fold.add(row(6, "infra_error", error=""))
    fold.add(row(7))
    errors = fold.ranked()
    assert [(one.kind, one.count) for one in errors] == [
        ("rate_limited", 4), ("authentication", 2), ("unknown", 1),
    ]  # fmt: skip
    assert errors[0].trace_ids == tuple(row(index).trace_id for index in (1, 2, 4))
