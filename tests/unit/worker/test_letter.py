"""What lies in the queue: Celery's protocol, this site's checks, and few bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.run.plan import TrialMessage
from salvo_core.run.route import LANES, PRIORITIES
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_worker.envelope import require_ours
from salvo_worker.letter import NUMBERS, QUEUES, letter, only_in_letters_of

RUN = new_run_id()
SIGNER = Signer(("k" * 32,))
LARGEST = TrialMessage(run_id=RUN, cell=9_999, index=2**32 - 1, trace_id=trace_id_for(RUN, 2**32 - 1))


@pytest.mark.parametrize("signer", [UNSIGNED, SIGNER], ids=["unsigned", "signed"])
@pytest.mark.parametrize("queue", [QUEUES[0], QUEUES[-1]], ids=["first lane", "last lane"])
def test_what_is_sent_is_let_in_and_says_the_same(signer, queue):
    sent = letter(LARGEST, queue, NUMBERS["low"], signer)
    assert require_ours(sent.encode(), signer) == LARGEST
    found = json.loads(sent)
    assert found["headers"]["id"] == LARGEST.trace_id
    assert found["properties"]["priority"] == NUMBERS["low"]
    assert found["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}


@given(st.integers(0, 9_999), st.integers(0, 2**32 - 1))
def test_every_letter_of_a_run_and_no_other_holds_what_is_sought_for_it(cell, index):
    other = new_run_id()
    for run_id, found in ((RUN, True), (other, False)):
        one = TrialMessage(run_id=run_id, cell=cell, index=index, trace_id=trace_id_for(run_id, index))
        assert (only_in_letters_of(RUN) in letter(one, QUEUES[0], 3, SIGNER)) is found


def test_no_two_letters_have_one_delivery_tag():
    sent = [json.loads(letter(LARGEST, QUEUES[0], 3, UNSIGNED)) for _ in range(100)]
    assert len({one["properties"]["delivery_tag"] for one in sent}) == 100


def test_a_signed_letter_with_its_row_fits_the_bytes_a_queued_trial_may_take():
    row = len(f"pending 0 {LARGEST.trace_id}") + 64  # of the hash's own
    assert len(letter(LARGEST, QUEUES[-1], 6, SIGNER)) + row <= 900


def test_every_lane_has_a_queue_of_its_own_and_every_priority_a_list():
    assert len(set(QUEUES)) == LANES
    assert sorted(NUMBERS, key=NUMBERS.__getitem__) == list(PRIORITIES)
    assert len({number // 3 for number in NUMBERS.values()}) == len(
        PRIORITIES
    )  # kombu: a list for each third
