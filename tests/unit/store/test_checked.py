"""Names and sizes that stores take."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt, UsageError
from salvo_core.identity import digest, new_run_id, trace_id_for
from salvo_core.store import keys
from salvo_core.store.checked import (
    KEY_LENGTH_MAX,
    is_key,
    require_digest,
    require_key,
    require_prefix,
)


def test_every_path_of_the_key_module_is_a_key() -> None:
    run_id = new_run_id()
    assert all(
        is_key(key)
        for key in (
            keys.scenario(digest(b"x")),
            keys.plan(run_id),
            keys.trace(run_id, trace_id_for(run_id, 7), 999_999),
            keys.manifest(run_id),
            keys.summary(run_id),
        )
    )
    assert require_prefix(keys.traces(run_id)) == keys.traces(run_id)


@given(st.text(max_size=40) | st.text(alphabet="./a-\\ \0", max_size=12))
def test_a_key_never_leaves_its_folder_and_never_names_a_draft(text: str) -> None:
    if is_key(text):
        path = Path("/store", text)
        assert Path("/store") in path.parents
        assert not any(part.startswith(".") for part in text.split("/"))
        assert str(path) == f"/store/{text}"
        assert text.isascii()
        assert text.isprintable()


@given(st.lists(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True), min_size=1, max_size=6))
def test_every_beginning_of_a_key_is_a_prefix(segments: list[str]) -> None:
    key = "/".join(segments)
    assert require_key(key) == key
    for length in range(len(key) + 1):
        assert require_prefix(key[:length]) == key[:length]


def test_the_longest_key_is_a_key_and_a_longer_one_is_not() -> None:
    longest = "/".join(["s" * 99] * 9)
    assert len(longest) == KEY_LENGTH_MAX - 1
    assert is_key(longest + "s")
    assert not is_key(longest + "ss")


def test_an_error_quotes_a_bad_key_in_part_only() -> None:
    with pytest.raises(UsageError) as raised:
        require_key("/" + "x" * 5000)
    assert len(raised.value.message) < 140


def test_bytes_that_changed_do_not_pass_for_those_written() -> None:
    require_digest("a", b"body", digest(b"body"))
    with pytest.raises(ObjectCorrupt, match="a does not match"):
        require_digest("a", b"bodY", digest(b"body"))
