"""The summary: every figure from the plan and the rows, whatever the rows' order."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt
from salvo_core.manifest.rows import Row
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.spread import Spread
from salvo_core.run.summary import Summary, summarise
from tests.unit.run.builders import plan, result, row, rows


def summary(
    given_rows, *, order=None, assertions=None, started_ms=1_000, finished_ms=5_000, state="finished"
):
    given_rows = list(given_rows)
    return summarise(
        order or plan(trials=max(len(given_rows), 1)),
        given_rows,
        assertions or {},
        started_ms=started_ms,
        finished_ms=finished_ms,
        state=state,
    )


def cell(given_rows, **more):
    return summary(given_rows, **more).cells[0]


def test_t27_counts_rates_and_verdict_of_three_trials():
    one = cell(rows(1, 1, 0.5))
    assert (one.verdict, one.counts["passed"], one.counts["failed"]) == ("PASS", 2, 1)
    assert one.pass_rate == pytest.approx(0.667, abs=1e-3)
    assert (one.pass_rate_low, one.pass_rate_high) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_t30_no_percentile_lies_beyond_the_scores():
    one = cell(rows(1, 0, 0))
    assert (one.score.p50, one.score.p95, one.score.min, one.score.max) == (0, 1, 0, 1)
    assert cell(rows(0.25)).score == Spread(mean=0.25, min=0.25, p50=0.25, p95=0.25, max=0.25)


def test_t30_without_graded_trials_scores_are_zero_and_times_and_costs_unknown():
    one = cell(rows("infra_error", "cancelled"))
    assert (one.scored, one.pass_rate, one.score.mean, one.score.p95) == (0, 0, 0, 0)
    assert (one.latency_s, one.tokens, one.cost.total_usd, one.cost.mean_usd) == (None, None, None, None)
    assert (one.pass_rate_low, one.pass_rate_high) == (0, 1)


def test_t31_an_unknown_cost_is_left_out_of_the_sum_and_counted():
    one = cell([row(0, cost_usd=0.05), row(1, cost_usd=None), row(2, cost_usd=0.03)])
    assert one.cost.total_usd == pytest.approx(0.08)
    assert one.cost.total_usd / one.scored == pytest.approx(0.08 / 3)  # the predecessor's average
    assert one.cost.mean_usd == pytest.approx(0.04)
    assert (one.cost.known, one.cost.unknown, one.cost.per_pass_usd) == (2, 1, None)


def test_a_pass_costs_what_all_trials_cost():
    given_rows = [row(0, cost_usd=0.1), row(1, "failed", cost_usd=0.2), row(2, "infra_error", cost_usd=0.3)]
    one = cell(given_rows)
    assert one.cost.total_usd == 0.6  # exact sum, rounded once
    assert one.cost.per_pass_usd == 0.6
    assert cell(given_rows[1:], order=plan()).cost.per_pass_usd is None


def test_t32_failures_are_ranked_with_the_weights_given():
    given_rows = [row(index, "failed", failed=((1, 0.0),)) for index in range(3)]
    given_rows.append(row(3, "failed", failed=((0, 0.0),)))
    facts = (AssertionFacts("heavy", 10), AssertionFacts("light"))
    assert [one.label for one in cell(given_rows, assertions={0: facts}).failures] == ["heavy", "light"]
    assert [one.label for one in cell(given_rows).failures] == ["second", "first"]  # the plan's labels


def test_t39_retries_are_counted_over_all_trials_that_left_a_result():
    one = cell([row(0, retries=1), row(1), row(2, "infra_error", retries=4)])
    assert (one.retries, one.trials_with_retries) == (5, 2)


def test_infrastructure_errors_do_not_count_in_scores_and_show_as_bounds():
    one = cell(rows(1, 1, 0, "infra_error", "cancelled"))
    assert (one.scored, one.pass_rate) == (3, 2 / 3)
    assert (one.pass_rate_worst, one.pass_rate_best) == (2 / 5, 4 / 5)
    assert one.verdict == "INFRA_ERROR"
    assert one.verdict_allow_infra == "PARTIAL"
    assert [(error.kind, error.count) for error in one.infra_errors] == [("transient", 1)]


def test_t41_the_exit_code_that_allows_infrastructure_errors_is_kept_beside_the_strict_one():
    done = summary(rows("hard_fail", "infra_error", 1))
    assert (done.verdict, done.exit_code, done.exit_code_allow_infra) == ("INFRA_ERROR", 3, 2)


def test_outcomes_tokens_turns_and_times_are_told():
    one = cell([row(0, outcome="max_turns", turns=10, latency_s=3.0), row(1), row(2, outcome="timeout")])
    assert one.outcomes == {"completed": 1, "max_turns": 1, "timeout": 1}
    assert (one.latency_s.min, one.latency_s.p50, one.latency_s.max) == (1, 1, 3)
    assert (one.turns.max, one.tokens.mean, one.duration_s.p95) == (10, 150, 2)


def test_a_run_adds_up_its_cells():
    order = plan(trials=2, cells=2)
    done = summary([row(0), row(1, "failed"), row(2), row(3, "cancelled")], order=order)
    assert done.total == 4
    assert {status: count for status, count in done.counts.items() if count} == {
        "passed": 2, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    assert [one.counts["passed"] for one in done.cells] == [2, 0]
    assert done.cost.total_usd == pytest.approx(0.03)
    assert (done.input_tokens, done.output_tokens) == (300, 150)
    assert (done.wall_s, done.trials_per_s) == (4.0, 1.0)
    assert (done.verdict, done.exit_code) == ("FAIL", 1)
    assert done.reason.startswith("1 of 2 cells passed; scenario 1 · gpt-4o: average score")


def test_a_run_that_passed_says_so_in_a_few_words():
    assert summary(rows(1, 1), order=plan(trials=1, cells=2)).reason == "all 2 cells passed"
    assert summary(rows(1)).reason == "average score 1.00 reaches the threshold 0.80; 1 of 1 trial passed"


def test_a_run_that_goes_on_is_inconclusive_and_has_no_end():
    done = summary(rows(1, "running"), order=plan(trials=3), finished_ms=None, state="running")
    assert (done.verdict, done.wall_s, done.trials_per_s) == ("INCONCLUSIVE", None, None)
    assert (done.counts["running"], done.counts["pending"]) == (1, 1)
    assert sum(done.counts.values()) == done.total


@pytest.mark.parametrize(
    ("given_rows", "said"),
    [
        ([row(0), row(0)], "row 0 came twice"),
        ([row(3)], "row 3 is outside 0..2"),
        ([Row(1, "passed", 1, "t")], "row 1 is passed and carries no score"),
        ([Row(2, "failed", 1, "t", result=result(None))], "row 2 is failed and carries no score"),
    ],
)
def test_rows_that_cannot_be_are_refused_by_index(given_rows, said):
    with pytest.raises(ValueError, match=said):
        summary(given_rows, order=plan())


def test_a_stored_summary_reads_back_the_same():
    done = summary(rows(1, 0.5, "infra_error", "cancelled"))
    stored, mark = done.encode()
    assert Summary.decode(stored, "runs/x/summary.json") == done
    assert done.encode() == (stored, mark)
    with pytest.raises(ObjectCorrupt):
        Summary.decode(stored.replace(b"INFRA_ERROR", b"PASSINGPASS"), "runs/x/summary.json")


floats = st.floats(0, 1e6)
graded = st.builds(
    lambda score, cost, latency, retries, failed: ("graded", score, cost, latency, retries, failed),
    st.floats(0, 1),
    st.none() | floats,
    floats,
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1)), max_size=2, unique_by=lambda pair: pair[0]),
)
trial_kinds = st.lists(st.sampled_from(["infra_error", "cancelled", "pending"]) | graded, max_size=12)


def made(kinds):
    for index, kind in enumerate(kinds):
        if isinstance(kind, str):
            yield row(index, kind)
        else:
            _, score, cost, latency, retries, failed = kind
            status = "passed" if score >= 0.8 else "failed"
            yield row(
                index, status, score, cost_usd=cost, latency_s=latency, retries=retries, failed=tuple(failed)
            )


@given(st.data(), trial_kinds, st.integers(1, 3))
def test_t44_the_order_of_the_rows_does_not_change_a_byte_of_the_summary(data, kinds, cells):
    order = plan(trials=12, cells=cells)
    given_rows = list(made(kinds))
    shuffled = data.draw(st.permutations(given_rows))
    assert summary(shuffled, order=order).encode() == summary(given_rows, order=order).encode()


@given(trial_kinds, st.integers(1, 3))
def test_every_figure_lies_within_its_data_and_every_count_adds_up(kinds, cells):
    done = summary(made(kinds), order=plan(trials=12, cells=cells))
    assert sum(done.counts.values()) == done.total == 12 * cells
    for one in done.cells:
        assert sum(one.counts.values()) == one.trials
        assert 0 <= one.pass_rate_low <= one.pass_rate_high <= 1
        assert one.pass_rate_worst <= one.pass_rate_best
        assert 0 <= one.score.min <= one.score.p50 <= one.score.p95 <= one.score.max <= 1
        if one.scored:
            assert one.pass_rate_worst <= one.pass_rate <= one.pass_rate_best
            for spread in (one.score, one.latency_s, one.duration_s, one.tokens):
                assert spread.min <= spread.mean <= spread.max


def test_rows_are_folded_as_they_come_and_not_kept():
    order = plan(trials=20_000)
    shared = row(0)

    def stream():
        for index in range(order.total):
            yield Row(index, "passed", 1, shared.trace_id, result=result(latency_s=float(index)))

    tracemalloc.start()
    try:
        done = summarise(order, stream(), {}, started_ms=0, finished_ms=1, state="finished")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.counts["passed"] == 20_000
    assert peak_bytes < 200 * order.total  # kept rows alone would be above 500 bytes each
