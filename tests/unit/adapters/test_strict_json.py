"""Reading JSON from strangers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.adapters.strict_json import parse, read_arguments, text_or_empty, well_formed
from salvo_core.identity import canonical_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_what_json_can_say_comes_through_unchanged(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False)) == value
    assert parse(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "", "{", "[1,]", "[" * 200_000]
)
def test_what_no_reader_agrees_on_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


@given(st.text(alphabet=st.characters(codec=None), max_size=8))
def test_anything_read_can_be_written_again(text: str) -> None:
    canonical_json({"read": parse(json.dumps({text: [text]})), "cleaned": well_formed(text)})


def test_a_lone_surrogate_becomes_a_replacement_character_and_a_pair_stays() -> None:
    assert parse(r'{"a": "x\ud800y", "b": "\ud83d\ude00"}') == {"a": "x\ufffdy", "b": "😀"}
    assert well_formed("😀\ud800") == "😀\ufffd"


@pytest.mark.parametrize(
    ("raw", "arguments", "malformed"),
    [
        ('{"a": 1}', {"a": 1}, None),
        ({"a": 1}, {"a": 1}, None),
        ("", {}, None),
        ("  \n", {}, None),
        (None, {}, None),
        ('{"a": 1', {}, '{"a": 1'),
        ('{"a": NaN}', {}, '{"a": NaN}'),
        ("[1]", {}, "[1]"),
        ("null", {}, "null"),
        ([1, "é"], {}, '[1, "é"]'),
        (7, {}, "7"),
    ],
)
def test_arguments_are_an_object_or_kept_as_the_model_sent_them(
    raw: object, arguments: dict[str, object], malformed: str | None
) -> None:
    assert read_arguments(raw) == (arguments, malformed)


def test_text_is_text_or_nothing() -> None:
    assert [text_or_empty(value) for value in ("a", None, 3, ["a"])] == ["a", "", "", ""]
