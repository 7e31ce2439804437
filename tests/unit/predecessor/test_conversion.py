"""What each fact of the predecessor is here: carried over, doubted, or left empty."""

import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.carry_over import pack
from salvo_core.predecessor.collection import Collection
from salvo_core.predecessor.conversion import convert
from salvo_core.predecessor.folder import Folder
from salvo_core.scenario.digest import scenario_digest
from salvo_core.trace.recording import EXCLUDED
from salvo_core.trace.redaction import Redactor
from salvo_core.trace.stored import read_trace
from tests.past import SECRET, Past, assertion, judged, past_id, result, snapshot, trial

REDACTOR = Redactor()


@pytest.fixture
def past(tmp_path):
    return Past(tmp_path)


def converted(past, *args, mode="full", **given):
    run_id = past.run(1, *args, **given)
    collection = Collection(Folder(past.folder))
    collection.open()
    return convert(collection.run(run_id), REDACTOR, mode)


def plain(packed):
    """Every byte that is stored of a run, unpacked."""
    bodies = [body for _, body in packed.objects] + [packed.archive, packed.plan.encode()[0]]
    unpacked = [zstandard.decompress(one) if one.startswith(b"\x28\xb5") else one for one in bodies]
    return b"".join([*unpacked, packed.summary.encode()[0]])


def test_a_run_keeps_its_ids_its_figures_and_its_scenario(past):
    run = converted(past)
    plan, (first, second) = run.plan, run.traces
    assert (plan.run_id, plan.total) == (past_id(1, 1_767_225_600_001), 2)
    assert plan.trace_ids == (first.trace_id, second.trace_id)
    assert plan.labels == {"imported": "salvo-ai 0.1"}
    assert plan.created_at.isoformat() == "2026-01-01T00:00:00.001000+00:00"
    assert (first.grade, first.score, second.grade, second.score) == ("passed", 1.0, "failed", 0.5)
    assert (first.usage.total_tokens, first.cost_usd, first.latency_s, first.duration_s) == (
        300,
        0.000775,
        0.25,
        0.5,
    )
    assert (first.outcome, first.finish_reason, len(first.turns), len(first.tool_calls)) == (
        "completed",
        "stop",
        2,
        1,
    )
    assert first.turns[0].tool_calls == first.messages[2].tool_calls
    assert (run.started_ms, run.ended_ms) == (1_767_225_598_250, 1_767_225_600_001)
    (cell,) = plan.cells
    assert cell.scenario_digest == scenario_digest(run.scenario)
    assert [one.type for one in run.scenario.assertions] == [
        "jmespath",
        "jmespath",
        "tool_sequence",
        "cost_limit",
    ]
    assert cell.assertions == tuple(one.label() for one in run.scenario.assertions)
    assert [one.weight for one in run.facts] == [1.0, 3.0, 1.0, 1.0]
    assert run.notes == ()


def test_the_same_scenario_has_the_same_digest_whether_a_run_was_recorded_or_not(past):
    recorded = converted(past)
    past.run(2, recorded=None)
    collection = Collection(Folder(past.folder))
    plain = convert(collection.run(collection.open()[1]), REDACTOR)
    assert plain.plan.cells == recorded.plan.cells


def test_a_run_of_an_unknown_scenario_says_so_and_is_told_from_others_by_its_hash(past):
    run = converted(past, recorded=None)
    assert run.scenario is None
    assert run.notes == ("its scenario was not recorded",)
    (cell,) = run.plan.cells
    assert (cell.withheld, cell.agent_digest) == (True, "")
    assert cell.scenario_digest == "".join(one for one in cell.scenario_digest if one in "0123456789abcdef")
    # A label is the same for every trial, so it holds nothing of what was seen.
    assert cell.assertions == (
        "jmespath path='tool_calls' operator=exists",
        "jmespath path='response.content' operator=contains expected='refund'",
        "tool_sequence",
        "cost_limit",
    )
    assert [one.weight for one in run.facts] == [1.0, 3.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"assertions": [assertion("jmespath", expression="x", operator="exists", weight=-1.0)]}, "weight"),
        ({"assertions": [assertion("tool_calld")]}, "no assertion type is called 'tool_calld'"),
        ({"extras": {"api_key": "x"}}, "extras"),
        ({"prompt": ""}, "prompt"),
    ],
)
def test_a_scenario_that_is_refused_here_costs_the_run_nothing_but_itself(past, fields, why):
    run = converted(past, scenario=snapshot(**fields))
    assert run.scenario is None
    assert why in run.notes[0]
    assert len(run.traces) == 2


def test_an_assertions_keys_of_other_types_are_left_out_and_a_null_to_compare_with_is_kept(past):
    odd = [
        assertion("jmespath", expression="x", operator="eq", tool="left over", k=3),
        assertion("tool_sequence", sequence=["a"]),  # no mode
    ]
    run = converted(
        past, [trial(1, eval_results=[result(), result("tool_sequence")])], scenario=snapshot(assertions=odd)
    )
    assert run.notes == ()
    assert run.scenario.assertions[0].value is None
    assert run.scenario.assertions[1].mode == "exact"


def test_an_infrastructure_error_keeps_its_words_and_its_retries_are_not_believed(past):
    (trace,) = converted(past, [trial(1, "infra_error")]).traces
    assert (trace.status, trace.grade, trace.score, trace.cost_usd) == ("infra_error", None, None, None)
    assert (trace.error.kind, trace.error.error_class) == ("authentication", "AuthenticationError")
    assert trace.error.message.startswith("no such key")
    assert trace.retries_total == 0  # the file says 3, as it says of every such trial
    assert (trace.latency_s, trace.duration_s) == (0.0, 0.5)
    assert [one.role for one in trace.messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("raised", "message", "kind"),
    [
        ("RateLimitError", "", "rate_limited"),
        ("APITimeoutError", "", "transient"),
        ("APIConnectionError", "", "transient"),
        ("BadRequestError", "", "permanent"),
        ("ToolMockNotFoundError", "", "scenario"),
        ("ModuleNotFoundError", "", "adapter"),
        ("OpenAIError", "the api_key client option must be set", "authentication"),
        ("KeyError", "'weight'", "internal"),
    ],
)
def test_an_exceptions_class_says_whose_fault_it_was(past, raised, message, kind):
    one = trial(1, "infra_error", transient_error_types=[raised], error_message=message)
    (trace,) = converted(past, [one]).traces
    assert trace.error.kind == kind


def test_retries_that_led_to_an_answer_are_kept(past):
    one = trial(1, retries_used=2, transient_error_types=["RateLimitError", "TimeoutError"])
    (trace,) = converted(past, [one]).traces
    assert [retry.kind for retry in trace.turns[0].retries] == ["rate_limited", "transient"]
    assert trace.retries_total == 2


def test_trials_that_an_early_stop_left_out_are_skipped_under_names_of_their_own(past):
    run = converted(past, [trial(1, "hard_fail")], n_requested=4, early_stopped=True)
    assert run.skipped == {1: "decided", 2: "decided", 3: "decided"}
    assert len(set(run.plan.trace_ids)) == run.plan.total == 4
    packed = pack(run, REDACTOR)
    assert [row.status for row in packed.rows] == ["hard_fail", "skipped", "skipped", "skipped"]
    assert packed.summary.verdict == "HARD FAIL"


def test_a_trial_whose_conversation_is_lost_keeps_what_it_came_to(past):
    run = converted(past, [trial(1), trial(2, trace_id=None)])
    assert run.without_record == {1}
    packed = pack(run, REDACTOR)
    assert [(row.status, row.recorded) for row in packed.rows] == [("passed", True), ("passed", False)]
    assert packed.rows[1].result.score == 1.0
    assert sum("/traces/" in key for key, _ in packed.objects) == 1


def test_a_recording_without_content_stays_so_although_the_raw_trace_beside_it_tells_all(past):
    run = converted(past, recorded="metadata_only")
    packed = pack(run, REDACTOR)
    stored = plain(packed)
    assert run.plan.recording.mode == "metadata_only"
    assert set(run.plan.cells[0].assertions) == {"jmespath", "tool_sequence", "cost_limit"}
    for content in (b"A-1001", b"One moment", b"Be nice", b"found", b"response.content", SECRET.encode()):
        assert content not in stored
    assert run.traces[0].messages[1].content == EXCLUDED


def test_a_project_that_keeps_no_content_carries_none_over(past):
    run = converted(past, recorded=None, mode="metadata_only")
    stored = plain(pack(run, REDACTOR))
    assert b"A-1001" not in stored
    assert b"response.content" not in stored


def test_a_name_that_is_how_the_question_began_is_content(past):
    asked = snapshot(description="")
    name = asked["prompt"][:50]
    run = converted(past, recorded="metadata_only", scenario=asked, scenario_name=name)
    assert run.plan.name == "refund"  # its file
    assert converted(past, scenario=asked, scenario_name=name).plan.name == name


def test_a_judges_votes_are_kept_as_far_as_they_are_known(past):
    one = trial(1, eval_results=[judged(0.9, 0.7, k=3, cost=0.0003)])
    (trace,) = converted(past, [one], scenario=snapshot(assertions=[])).traces
    (judgement,) = trace.judgements
    assert (judgement.model, judgement.assertions, judgement.weights) == (
        "gpt-4o-mini",
        (0,),
        {"polite": 1.0},
    )
    assert [vote.scores for vote in judgement.votes] == [{"polite": 0.9}, {"polite": 0.7}, {}]
    assert [vote.heard for vote in judgement.votes] == [True, True, False]
    assert trace.judge_cost_usd == 0.0003
    assert [(one.assertion, one.k, one.heard, one.in_favour) for one in trace.judged] == [(0, 3, 2, 1)]
    assert trace.findings[0].label == "judge polite"


def test_a_judges_own_threshold_counts_its_votes(past):
    criteria = [{"name": "polite", "description": "Is it?", "weight": 1}]
    own = snapshot(assertions=[assertion("judge", criteria=criteria, threshold=0.5)])
    run = converted(past, [trial(1, eval_results=[judged(0.9, 0.7, k=2)])], scenario=own)
    assert run.notes == ()
    assert run.scenario.assertions[0].k is None
    assert [(one.threshold, one.in_favour) for one in run.traces[0].judged] == [(0.5, 2)]
    (judge,) = pack(run, REDACTOR).summary.cells[0].judges
    assert (judge.model, judge.votes, judge.votes_heard) == ("gpt-4o-mini", 2, 2)


def test_a_judge_of_unknown_price_did_not_cost_nothing(past):
    (trace,) = converted(past, [trial(1, eval_results=[judged(0.9, k=1, cost=0.0)])]).traces
    assert trace.judge_cost_usd is None


@pytest.mark.parametrize(
    "metadata",
    [{}, {"judge_k": 10**9}, {"judge_k": "3", "per_criterion": 7}, {"per_criterion": [[]], "judge_k": True}],
)
def test_what_a_judge_left_in_no_known_form_is_no_judgement(past, metadata):
    (trace,) = converted(past, [trial(1, eval_results=[result("judge", metadata=metadata)])]).traces
    assert trace.judgements == ()


def test_figures_beyond_what_they_mean_are_drawn_in_and_a_threshold_is_told(past):
    odd = trial(
        1, score=2.0, eval_results=[result(score=3.63), result(score=-1.0, passed=False, weight=-2.0)]
    )
    run = converted(past, [odd], threshold=5.0, recorded=None)
    (trace,) = run.traces
    assert (trace.score, [one.score for one in trace.findings]) == (1.0, [1.0, 0.0])
    assert (trace.threshold, run.facts[1].weight) == (1.0, 0.0)
    assert "its threshold of 5 is taken for 1" in run.notes


def test_t61_a_finding_that_redaction_would_change_is_marked_and_others_are_not(past):
    seen = assertion("jmespath", expression="response.content", operator="contains", value=SECRET)
    scenario = snapshot(assertions=[seen, *snapshot()["assertions"][1:]])
    run = converted(past, [trial(1)], scenario=scenario)
    (kept,) = [read_trace(body, key) for key, body in pack(run, REDACTOR).objects if "/traces/" in key]
    assert kept.redacted
    assert [one.redaction_affected for one in kept.findings] == [True, False, False, False]
    assert [one.passed for one in kept.findings] == [True] * 4


statuses = st.sampled_from(["passed", "failed", "hard_fail", "infra_error"])


@settings(deadline=None, max_examples=30)  # each writes a folder and reads it
@given(
    trials=st.lists(st.tuples(statuses, st.floats(-3, 3), st.integers(0, 10**6)), min_size=1, max_size=5),
    threshold=st.floats(-1, 2),
    more=st.integers(0, 3),
    mode=st.sampled_from(["full", "metadata_only"]),
)
def test_whatever_a_suite_says_it_packs_to_the_same_bytes_twice(trials, threshold, more, mode):
    with tempfile.TemporaryDirectory() as folder:
        made = [
            trial(number, status, score=score, retries_used=retries)
            for number, (status, score, retries) in enumerate(trials, start=1)
        ]
        run = converted(
            Past(Path(folder)), made, threshold=threshold, n_requested=len(made) + more, mode=mode
        )
    once, twice = pack(run, REDACTOR), pack(run, REDACTOR)
    assert once == twice
    counts = once.summary.counts
    assert sum(counts.values()) == len(made) + more
    for status in ("passed", "failed", "hard_fail", "infra_error"):
        assert counts[status] == sum(one == status for one, _, _ in trials)
    assert SECRET.encode() not in plain(once)
