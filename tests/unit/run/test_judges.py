"""What judges said over a cell, from rows alone."""

import random

from salvo_core.run.facts import AssertionFacts
from salvo_core.run.judges import JudgeFold
from salvo_core.run.summary import Summary, summarise
from tests.unit.run.builders import plan, row

FACTS = (
    AssertionFacts("first"),
    AssertionFacts("judge kind", judge_models=("gpt-4o-mini",)),
    AssertionFacts("any of 2"),
)


def folded(*rows):
    fold = JudgeFold(FACTS)
    for one in rows:
        fold.add(one)
    return fold.summaries()


def summed(rows, trials=None):
    given = list(rows)
    order = plan(trials=trials or len(given), assertions=("first", "judge kind", "any of 2"))
    return summarise(order, given, {}, started_ms=0, finished_ms=1000, state="sealed")


def voted(index, *judged, status="passed", **more):
    return row(index, status, judged=tuple(judged), **({"judge_cost_usd": 0.01} | more))


def test_votes_are_added_up_by_judge():
    (judge,) = folded(voted(0, (1, 3, 3, 3)), voted(1, (1, 3, 2, 1)), voted(2, (1, 3, 3, 0)))
    assert (judge.assertion, judge.label, judge.trials) == (1, "judge kind", 3)
    assert (judge.model, judge.k) == ("gpt-4o-mini", 3)
    assert (judge.votes, judge.votes_heard, judge.unheard, judge.graded_without) == (9, 8, 0, 0)
    assert judge.unanimous == 2 / 3
    # 8 votes, 4 in favour; one split pair: observed 2/8, expected 32/56.
    assert judge.alpha is not None
    assert round(judge.alpha, 6) == round(1 - (2 / 8) / (32 / 56), 6)


def test_votes_that_all_say_the_same_are_unanimous_and_their_alpha_is_undefined():
    (judge,) = folded(voted(0, (1, 3, 3, 3)), voted(1, (1, 3, 3, 3)))
    assert (judge.unanimous, judge.alpha) == (1.0, None)


def test_single_votes_agree_with_nobody():
    (judge,) = folded(voted(0, (1, 1, 1, 1)))
    assert (judge.unanimous, judge.alpha) == (None, None)


def test_a_judge_without_a_quorum_is_counted_by_whether_the_trial_was_graded_all_the_same():
    (judge,) = folded(
        voted(0, (1, 3, 1, 1), undecided=(1,)),
        voted(1, (1, 3, 0, 0), status="infra_error", undecided=(1,)),
        voted(2, (1, 3, 2, 2)),
    )
    assert (judge.unheard, judge.graded_without) == (2, 1)


def test_a_group_that_others_decided_was_not_left_out_of_the_grade():
    (judge,) = folded(voted(0, (2, 3, 0, 0)), voted(1, (2, 3, 0, 0), undecided=(2,)))
    assert (judge.unheard, judge.graded_without) == (2, 1)


def test_judges_of_one_group_are_told_apart_by_their_order():
    first, second = folded(voted(0, (2, 3, 3, 3), (2, 5, 5, 0)), voted(1, (2, 3, 3, 3), (2, 5, 4, 4)))
    assert [(one.assertion, one.label, one.votes) for one in (first, second)] == [
        (2, "any of 2", 6), (2, "any of 2", 10),
    ]  # fmt: skip


def test_the_summary_has_the_same_bytes_whatever_the_order_of_the_rows():
    chance = random.Random(7)
    rows = [
        voted(index, (1, 3, heard := chance.randint(0, 3), chance.randint(0, heard)), judge_cost_usd=0.1 / 3)
        for index in range(60)
    ]
    stored = summed(rows).encode()
    for _ in range(5):
        chance.shuffle(rows)
        assert summed(rows).encode() == stored
    assert Summary.decode(stored[0], "here") == summed(rows)


def test_what_judges_cost_is_apart_from_the_agents_and_unknown_where_a_price_is():
    cell = summed([voted(0, (1, 3, 3, 3)), voted(1, (1, 3, 3, 3), judge_cost_usd=None), row(2)]).cells[0]
    assert (cell.judge_cost.total_usd, cell.judge_cost.known, cell.judge_cost.unknown) == (0.01, 1, 1)
    assert cell.cost.known == 3
    nobody = summed([row(0)])
    assert (nobody.judge_cost.total_usd, nobody.judge_cost.known, nobody.cells[0].judges) == (None, 0, ())


def test_a_summary_from_before_there_were_judges_can_still_be_read():
    old = summed([row(0)]).model_dump(mode="json")
    for part in (old, *old["cells"]):
        part.pop("judge_cost")
        part.pop("judges", None)
    assert Summary.model_validate(old).cells[0].judges == ()


def test_votes_that_a_cancelled_run_paid_for_count_in_its_cost():
    summary = summed([row(0, "cancelled", outcome="cancelled", judge_cost_usd=0.02)])
    assert (summary.judge_cost.total_usd, summary.cells[0].judges) == (0.02, ())
