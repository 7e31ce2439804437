"""Which trial a request belongs to."""

from __future__ import annotations

from salvo_cli.simulator.asked import Asked
from salvo_cli.simulator.callers import Callers


def asked(turn: int = 0, **fields: object) -> Asked:
    return Asked("m", turn, **({"opening": "refund A-1001"} | fields))  # type: ignore[arg-type]


def test_the_trace_id_names_the_trial_before_anything_else() -> None:
    caller = Callers().identify("trace-1", asked(seed=5, call_id="call_w0a1b2c3dn7_0_0"))
    assert (caller.trial_key, caller.counted_as) == ("trace-1", "trace-1")


def test_the_seed_is_the_trials_number() -> None:
    assert Callers().identify("", asked(seed=0)).trial_key == "0"


def test_requests_that_open_alike_are_trials_in_a_row() -> None:
    callers = Callers()
    keys = [callers.identify("", asked()).trial_key for _ in range(3)]
    other = callers.identify("", asked(opening="book a flight")).trial_key
    assert [key.rpartition("n")[2] for key in keys] == ["0", "1", "2"]
    assert other.endswith("n0")
    assert len({*keys, other}) == 4


def test_a_tool_calls_id_leads_back_to_the_trial() -> None:
    callers = Callers()
    first = callers.identify("", asked())
    callers.identify("", asked())
    later = callers.identify("", asked(turn=1, call_id=f"call_{first.mark}_0_0"))
    assert later.trial_key == first.trial_key


def test_an_id_we_did_not_make_leads_nowhere() -> None:
    caller = Callers().identify("", asked(turn=1, call_id="call_abc"))
    assert "n" not in caller.trial_key


def test_a_first_turn_tried_again_counts_as_the_same_failing_turn() -> None:
    callers = Callers()
    first, again = callers.identify("", asked()), callers.identify("", asked())
    assert first.counted_as == again.counted_as


def test_a_mark_holds_nothing_that_a_client_chose() -> None:
    mark = Callers().identify("w/../<script>", asked()).mark
    assert mark.isalnum()


def test_a_long_name_is_cut() -> None:
    assert len(Callers().identify("x" * 10_000, asked()).trial_key) == 200


def test_each_vote_of_a_judge_is_a_draw_of_its_own() -> None:
    callers = Callers()
    votes = [callers.identify("trace-1", asked(must_call="score_criteria")) for _ in range(3)]
    assert [vote.trial_key for vote in votes] == ["trace-1v0", "trace-1v1", "trace-1v2"]
    assert {vote.counted_as for vote in votes} == {"trace-1"}
    assert len({vote.mark for vote in votes}) == 3
    other = callers.identify("trace-1", asked(must_call="score_criteria", opening="another question"))
    assert other.trial_key == "trace-1v0"


def test_a_forced_call_without_a_trace_id_is_no_vote() -> None:
    assert Callers().identify("", asked(seed=3, must_call="f")).trial_key == "3"
    assert Callers().identify("trace-1", asked(turn=1, must_call="f")).trial_key == "trace-1"


def test_only_so_many_wordings_are_remembered() -> None:
    callers = Callers(wordings_max=2)
    for wording in ("a", "b", "c", "a"):
        caller = callers.identify("", asked(opening=wording))
    assert caller.trial_key.endswith("n0")


def test_text_that_no_encoding_knows_is_a_wording_too() -> None:
    assert Callers().identify("", asked(opening="\ud800")).trial_key.endswith("n0")
