"""Signatures: what is signed is accepted, and nothing that differs from it in any way."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import UsageError
from salvo_core.identity import digest, new_run_id
from salvo_core.run.plan import Cell, Plan
from salvo_core.run.signature import UNSIGNED, Signer

OLD, NEW = "o" * 32, "n" * 32
PARTS = st.lists(st.text(max_size=8) | st.integers(), max_size=5)


def plan(**fields):
    cell = Cell(
        scenario_digest="0" * 64, scenario_name="Grüße", model="m", adapter="scripted", threshold=0.1 + 0.2
    )
    given = {"run_id": new_run_id(), "created_at": "2026-01-01T00:00:00Z", "cells": (cell,), "trials": 3}
    return Plan.model_validate({**given, "salvo_version": "1", **fields})


def test_a_signature_is_the_hmac_sha256_of_the_parts_as_json():
    expected = hmac.new(OLD.encode(), b'["salvo.x/1","a",7]', hashlib.sha256).hexdigest()
    assert Signer((OLD,)).sign("salvo.x/1", "a", 7) == expected


@given(PARTS, PARTS)
def test_a_signature_serves_for_the_same_parts_only(parts, others):
    signer = Signer((OLD,))
    signature = signer.sign("kind", *parts)
    assert signer.lack(signature, "kind", *parts) is None
    assert signer.lack(signature, "another kind", *parts) == "bad signature"
    same = [(type(part), part) for part in parts] == [(type(part), part) for part in others]
    assert (signer.lack(signature, "kind", *others) is None) == same


@pytest.mark.parametrize("missing", ["", None, 0])
def test_what_carries_no_signature_is_unsigned(missing):
    assert Signer((OLD,)).lack(missing, "kind") == "unsigned"


@pytest.mark.parametrize("wrong", ["0" * 64, "é", "\ud800", b"x", ["a"], 7, "x" * 100_000])
def test_a_signature_of_any_other_form_is_a_bad_one(wrong):
    assert Signer((OLD,)).lack(wrong, "kind") == "bad signature"


def test_while_keys_are_changed_the_first_signs_and_all_are_accepted():
    before, during, after = Signer((OLD,)), Signer((NEW, OLD)), Signer((NEW,))
    assert during.sign("kind") == after.sign("kind") != before.sign("kind")
    assert during.lack(before.sign("kind"), "kind") is None
    assert before.lack(during.sign("kind"), "kind") == "bad signature"
    assert after.lack(before.sign("kind"), "kind") == "bad signature"


def test_without_a_key_nothing_is_signed_and_everything_accepted():
    assert UNSIGNED.sign("kind", "a") == ""
    assert UNSIGNED.lack("nonsense", "kind", "a") is None


def test_keys_are_told_apart_by_fingerprints_and_never_shown():
    signer = Signer((OLD, NEW))
    assert len(set(signer.fingerprints)) == 2
    assert OLD not in repr(signer)
    assert not any(mark in OLD for mark in signer.fingerprints)


def test_a_signed_plan_is_read_by_who_has_the_key_and_by_who_does_not_ask():
    signer = Signer((OLD,))
    signed = plan().signed(signer)
    stored = signed.encode()[0]
    assert Plan.decode(stored, "here", signer) == signed == Plan.decode(stored, "here")


@pytest.mark.parametrize(
    "change", [{"trials": 4}, {"run_id": new_run_id()}, {"signature": ""}, {"salvo_version": "2"}]
)
def test_a_plan_that_was_changed_after_it_was_signed_is_no_order(change):
    signer = Signer((OLD,))
    changed = plan().signed(signer).model_copy(update=change)
    with pytest.raises(UsageError, match="is not an order of this site") as refused:
        Plan.decode(changed.encode()[0], "runs/x/plan.json", signer)
    assert "SALVO_SIGNING_KEY" in refused.value.hint


@pytest.mark.parametrize(
    "body", ["[]", "null", '{"threshold":NaN}', '{"signature":7}', "[" * 900 + "]" * 900]
)
def test_a_document_that_is_no_plan_is_no_order(body):
    stored = f'{{"schema":"salvo.plan/1","digest":"{digest(body.encode())}","body":{body}}}'.encode()
    with pytest.raises(UsageError, match="is not an order of this site"):
        Plan.decode(stored, "runs/x/plan.json", Signer((OLD,)))


def test_a_message_is_signed_with_all_that_it_says():
    signer = Signer((OLD,))
    one, another = plan().message(0), plan().message(1)
    assert one.lack(one.signature(signer), signer) is None
    assert one.lack(another.signature(signer), signer) == "bad signature"
    for name, value in {
        "cell": 1,
        "index": 1,
        "run_id": another.run_id,
        "trace_id": another.trace_id,
    }.items():
        changed = one.model_copy(update={name: value})
        assert changed.lack(one.signature(signer), signer) == "bad signature", name
