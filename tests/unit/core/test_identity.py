"""Run ids and trace ids: valid, derived, sorted, and refused when they are not what they claim."""

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import UsageError
from salvo_core.identity import (
    INDEX_MAX,
    canonical_json,
    created_s,
    digest,
    index_in,
    is_uuid7,
    new_run_id,
    require_uuid7,
    run_prefix,
    trace_id_for,
)

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"

run_ids = st.builds(
    lambda stamp, a, b: str(uuid.UUID(int=stamp << 80 | 7 << 76 | a << 64 | 0b10 << 62 | b)),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**12 - 1),
    st.integers(0, 2**62 - 1),
)
indices = st.integers(0, INDEX_MAX)


def test_fresh_run_ids_are_canonical_uuid7s_and_all_different():
    made = [new_run_id() for _ in range(1000)]
    assert all(is_uuid7(run_id) for run_id in made)
    assert len(set(made)) == 1000


def test_fresh_run_ids_sort_by_the_time_they_were_made():
    made = [new_run_id() for _ in range(100)]
    assert made == sorted(made)


@given(run_ids, indices)
def test_a_trace_id_is_a_uuid7_that_gives_its_index_back(run_id, index):
    trace_id = trace_id_for(run_id, index)
    parsed = uuid.UUID(trace_id)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert is_uuid7(trace_id)
    assert index_in(trace_id) == index
    assert trace_id_for(run_id, index) == trace_id


@given(run_ids, indices)
def test_a_trace_id_shares_its_runs_prefix_and_so_its_time(run_id, index):
    trace_id = trace_id_for(run_id, index)
    assert run_prefix(trace_id) == run_prefix(run_id)
    assert uuid.UUID(trace_id).int >> 80 == uuid.UUID(run_id).int >> 80


@given(run_ids, indices, indices)
def test_trace_ids_of_a_run_sort_by_index(run_id, one, other):
    ids = trace_id_for(run_id, one), trace_id_for(run_id, other)
    assert (ids[0] < ids[1]) == (one < other)
    assert (ids[0] == ids[1]) == (one == other)


@given(run_ids, st.integers(0, 2**62 - 1), indices)
def test_runs_of_the_same_millisecond_name_the_same_trial_differently(run_id, tail, index):
    sibling = str(uuid.UUID(int=uuid.UUID(run_id).int >> 64 << 64 | 0b10 << 62 | tail))
    assert (trace_id_for(run_id, index) == trace_id_for(sibling, index)) == (run_id == sibling)


def test_a_known_trace_id_stays_what_it_is():
    assert trace_id_for(RUN_ID, 0) == "0199c2f4-7b1e-7000-8000-024beebe1b47"
    assert trace_id_for(RUN_ID, 1) == "0199c2f4-7b1e-7000-8000-064beebe1b47"
    assert trace_id_for(RUN_ID, 2**20) == "0199c2f4-7b1e-7001-8000-024beebe1b47"


@pytest.mark.parametrize("index", [-1, INDEX_MAX + 1])
def test_an_index_that_no_trace_id_can_hold_is_refused(index):
    with pytest.raises(ValueError, match=str(index)):
        trace_id_for(RUN_ID, index)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        RUN_ID.upper(),
        "{" + RUN_ID[1:-1] + "}",
        "urn:uuid:" + RUN_ID[9:],
        RUN_ID.replace("-", ""),
        RUN_ID.replace("-7c3a", "-4c3a"),  # version 4
        RUN_ID.replace("-9d52", "-1d52"),  # not RFC 9562's variant
        RUN_ID + "\n",
        "../../../../../../../../../etc/passw",
        "٠199c2f4-7b1e-7c3a-9d52-0a4be1f0c111",  # a digit, but not of this alphabet
        None,
        7,
        RUN_ID.encode(),
    ],
)
def test_only_a_uuid7_in_canonical_form_may_become_a_path_or_a_key(text):
    assert not is_uuid7(text)
    with pytest.raises(UsageError, match="is not a run id"):
        require_uuid7(text, "run id")


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none()))
def test_telling_a_uuid7_never_raises(anything):
    assert not is_uuid7(anything)


def test_the_refusal_quotes_no_more_than_80_characters():
    with pytest.raises(UsageError) as refused:
        require_uuid7("x" * 5000, "trace id")
    assert len(str(refused.value)) < 250


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_equal_documents_give_equal_bytes_and_no_needless_one(document):
    import json

    encoded = canonical_json(document)
    assert json.loads(encoded) == document
    assert canonical_json(json.loads(encoded)) == encoded


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_know_are_refused(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"score": number})


def test_canonical_json_keeps_the_order_of_keys_and_writes_text_as_it_is():
    assert canonical_json({"b": 1, "a": "é\n"}) == '{"b":1,"a":"é\\n"}'.encode()


def test_the_digest_is_sha256_in_hex():
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_run_id_says_when_it_was_made():
    before_s = time.time()
    made_s = created_s(new_run_id())
    # Ids made in one millisecond each take the next one, so a busy process runs a little ahead.
    assert before_s - 0.01 <= made_s <= time.time() + 60
    assert created_s("0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111") == 0x0199C2F47B1E / 1000
