"""Stored documents: what is written is read again, and nothing else is."""

import json

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt, ObjectNewer
from salvo_core.identity import digest
from salvo_core.trace.codec import DOCUMENT_BYTES_MAX, decode, digest_of, encode

SCHEMA = "salvo.test/1"

bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('abé\n"', max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def refused(stored, **more):
    with pytest.raises(ObjectCorrupt) as found:
        decode(SCHEMA, stored, where="runs/x", **more)
    assert "runs/x" in str(found.value)
    return str(found.value)


@given(bodies, st.booleans())
def test_what_was_encoded_is_decoded_to_the_same(body, compress):
    stored, mark = encode(SCHEMA, body, compress=compress)
    assert decode(SCHEMA, stored, where="x", expected_digest=mark) == body
    assert digest_of(SCHEMA, stored, where="x") == mark


@given(bodies, st.booleans())
def test_equal_bodies_give_equal_bytes_and_an_equal_digest(body, compress):
    again = json.loads(json.dumps(body))
    assert encode(SCHEMA, again, compress=compress) == encode(SCHEMA, body, compress=compress)


@given(bodies, st.data())
def test_a_document_with_any_bit_changed_is_refused(body, data):
    stored, _ = encode(SCHEMA, body, compress=False)
    place = data.draw(st.integers(0, 8 * len(stored) - 1))
    changed = bytearray(stored)
    changed[place // 8] ^= 1 << place % 8
    refused(bytes(changed))


def test_every_single_byte_of_a_document_is_watched():
    stored, _ = encode(SCHEMA, {"a": [1, "two"]}, compress=False)
    for place in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[place] ^= 1 << bit
            refused(bytes(changed))


def test_a_compressed_document_with_any_bit_changed_is_refused_or_reads_as_before():
    # zstd has bits that mean nothing to it; what may never happen is that another body comes out.
    body = {"messages": [{"role": "user", "content": "hello " * 50}, {"n": list(range(40))}]}
    stored, mark = encode(SCHEMA, body, compress=True)
    harmless = 0
    for place in range(len(stored)):
        for bit in range(8):
            changed = bytearray(stored)
            changed[place] ^= 1 << bit
            try:
                assert decode(SCHEMA, bytes(changed), where="x", expected_digest=mark) == body
                harmless += 1
            except ObjectCorrupt:
                pass
    assert harmless < len(stored) * 8 / 100


@pytest.mark.parametrize("compress", [False, True])
def test_a_document_cut_short_or_with_something_behind_it_is_refused(compress):
    stored, _ = encode(SCHEMA, {"text": "x" * 300}, compress=compress)
    for length in range(len(stored)):
        refused(stored[:length])
    refused(stored + b"x")
    refused(stored + stored)


@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x28\xb5\x2f\xfd")
@example(b"[" * 100_000)
@example(b'{"schema":' + b"[" * 100_000)
@example(b"null")
@example(b"\xff\xfe\x00")
def test_bytes_that_are_not_ours_are_refused_whatever_they_are(stored):
    refused(stored)


def test_a_document_of_another_schema_is_named_with_the_one_it_has():
    stored, _ = encode("salvo.trace/2", {}, compress=True)
    assert "is not a salvo.test/1 document but 'salvo.trace/2'" in refused(stored)


def test_a_schema_that_only_begins_the_same_is_another_one():
    stored, _ = encode(SCHEMA + "0", {}, compress=False)
    assert "salvo.test/10" in refused(stored)


def test_a_whole_document_that_is_not_the_promised_one_is_refused():
    stored, _ = encode(SCHEMA, {"a": 1}, compress=True)
    assert "is not the object its manifest row names" in refused(stored, expected_digest="0" * 64)


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor(level=19).compress(b"\0" * (DOCUMENT_BYTES_MAX + 1))
    assert len(bomb) < 10_000
    assert "unpacks to more than" in refused(bomb)


def test_a_bomb_that_does_not_say_its_size_is_refused_too():
    packer = zstandard.ZstdCompressor(level=1, write_content_size=False).compressobj()
    assert "unpacks to more than" in refused(packer.compress(b"\0" * 1_000_000) + packer.flush())


def test_a_bomb_that_lies_about_its_size_is_refused_too():
    honest = zstandard.ZstdCompressor(level=1).compress(b"\0" * 200)
    lying = bytearray(honest)
    assert honest[4] & 0b11100000 == 0b00100000  # single segment, size in the one byte that follows
    lying[5] = 10
    refused(bytes(lying))


def test_what_carries_a_right_digest_and_is_no_json_is_refused():
    for raw in (b"{", b"[" * 200_000, b'"\xff"'):
        line = b'{"schema":"salvo.test/1","digest":"%s","body":%s}' % (digest(raw).encode(), raw)
        assert "no JSON that Salvo can read" in refused(line)


def test_the_stored_line_is_json_that_other_tools_can_read():
    stored, mark = encode(SCHEMA, {"é": [1.5, None]}, compress=False)
    assert json.loads(stored) == {"schema": SCHEMA, "digest": mark, "body": {"é": [1.5, None]}}
    assert len(mark) == 64


@pytest.mark.parametrize("found", ["salvo.test/2", "salvo.test/10"])
def test_a_later_version_of_a_schema_says_that_we_are_too_old(found):
    with pytest.raises(ObjectNewer, match=f"written by a newer Salvo: it is {found}") as refused_for:
        decode(SCHEMA, encode(found, {}, compress=True)[0], where="runs/x")
    assert "upgrade" in refused_for.value.hint


@pytest.mark.parametrize(
    "found", ["salvo.test/0", "salvo.other/2", "salvo.test/x", "2", "salvo.test/9999999"]
)
def test_another_schema_is_no_later_version(found):
    with pytest.raises(ObjectCorrupt) as refused_for:
        decode(SCHEMA, encode(found, {}, compress=False)[0], where="runs/x")
    assert not isinstance(refused_for.value, ObjectNewer)
