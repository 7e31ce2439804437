"""Rows and the archive: one line of text each, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_core.errors import ObjectCorrupt
from salvo_core.manifest import archive
from salvo_core.manifest.rows import SCORED, STATUSES, TERMINAL, Lines, Result, Row
from salvo_core.trace import codec

RUN_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"
TRACE_ID = "0199c2f4-7b1e-7000-8000-024beebe1b47"

money = st.none() | st.floats(0, 1000).map(lambda cost: round(cost, 6))
counts = st.integers(0, 10**9)
seconds = st.floats(0, 1e6)
names = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
results = st.builds(
    Result,
    score=st.none() | st.floats(0, 1),
    cost_usd=money,
    latency_s=seconds,
    duration_s=seconds,
    input_tokens=counts,
    output_tokens=counts,
    turns=counts,
    retries=counts,
    outcome=names,
    error=names,
    worker=names,
    digest=names,
    failed=st.lists(st.tuples(st.integers(0, 99), st.floats(0, 1)), max_size=4).map(tuple),
    judge_cost_usd=money,
    judged=st.lists(st.tuples(*[st.integers(0, 99)] * 4), max_size=3).map(tuple),
    undecided=st.lists(st.integers(0, 99), max_size=3).map(tuple),
    struck_out=st.lists(st.integers(0, 99), max_size=3).map(tuple),
)
ended = st.builds(
    Row,
    index=st.integers(0, 10**6),
    status=st.sampled_from(sorted(TERMINAL)),
    attempt=st.integers(0, 999),
    trace_id=st.just(TRACE_ID),
    result=st.none() | results,
)
under_way = st.builds(
    Row,
    index=st.integers(0, 10**6),
    status=st.sampled_from(["pending", "running"]),
    attempt=st.integers(0, 999),
    trace_id=st.just(TRACE_ID),
    worker=st.text("abcXYZ019.-", max_size=40),
)


@given(ended | under_way)
def test_a_row_comes_back_from_its_line_as_it_went(row):
    assert Row.decode(row.index, row.encode()) == row


@given(ended | under_way)
def test_a_row_is_one_line_that_begins_with_its_status(row):
    line = row.encode()
    assert line.split(" ")[0] == row.status
    assert "\n" not in line


@given(results)
def test_a_result_comes_back_as_it_went(result):
    assert Result.decode(result.encode()) == result


def test_lines_read_as_people_and_scripts_expect_them():
    assert Row(3, "pending", 0, TRACE_ID).encode() == f"pending 0 {TRACE_ID}"
    assert Row(3, "running", 2, TRACE_ID, worker="host-1-ab").encode() == f"running 2 {TRACE_ID} host-1-ab"
    result = Result(1.0, None, 1.5, 2.5, 10, 5, 2, 0, "completed", "", "w", "d" * 3, ((1, 0.5),))
    assert Row(3, "passed", 1, TRACE_ID, result=result).encode() == (
        f'passed 1 {TRACE_ID} [1.0,null,1.5,2.5,10,5,2,0,"completed","","w","ddd",[[1,0.5]]]'
    )


@pytest.mark.parametrize("line", ["", "passed", "passed 1", "lost 1 x", f"passed one {TRACE_ID}", "\x00 1 x"])
def test_a_line_that_is_no_row_is_refused(line):
    with pytest.raises(ValueError, match=r".+"):
        Row.decode(0, line)


def test_every_status_is_under_way_or_terminal_and_only_graded_ones_have_a_score():
    assert set(STATUSES) == TERMINAL | {"pending", "running"}
    assert SCORED < TERMINAL


@given(st.lists(ended | under_way, max_size=10))
def test_the_archive_gives_the_rows_back_and_equal_rows_give_equal_bytes(rows):
    stored = archive.encode_rows(RUN_ID, rows)
    assert list(archive.decode_rows(stored, "where")) == rows
    assert archive.encode_rows(RUN_ID, rows) == stored


@given(st.lists(ended | under_way, max_size=10))
def test_rows_kept_as_text_are_the_same_rows_and_make_the_same_archive(rows):
    lines = Lines([row.index for row in rows], [row.encode() for row in rows])
    assert list(lines) == rows
    assert list(lines[1:3]) == rows[1:3]
    assert [lines[place] for place in range(len(lines))] == rows
    assert archive.encode_rows(RUN_ID, lines) == archive.encode_rows(RUN_ID, rows)
    for status in STATUSES:
        assert list(lines.of_status(status)) == [row for row in rows if row.status == status]


def test_lines_that_are_not_as_many_as_their_trials_are_refused():
    with pytest.raises(ValueError, match="2 lines cannot be the rows of 1 trials"):
        Lines([0], ["pending 0 a", "b"])


@pytest.mark.parametrize("more", ["x", "[]", " ", ']"'])
def test_what_follows_a_result_is_not_passed_over(more):
    plain = Result(1.0, None, 1.0, 2.0, 1, 1, 1, 0, "completed", "", "w", "d")
    with pytest.raises(ValueError, match="a result is followed by"):
        Result.decode(plain.encode() + more)


@pytest.mark.parametrize(
    "body", [{}, {"rows": 7}, {"rows": [["x"]]}, {"rows": [[0, "lost 1 x"]]}, {"rows": [[0, 5]]}, []]
)
def test_an_archive_of_another_shape_is_refused_by_name_and_not_with_a_traceback(body):
    stored, _ = codec.encode(archive.SCHEMA, body, compress=True)
    with pytest.raises(ObjectCorrupt, match="runs/x holds rows that this Salvo cannot read"):
        list(archive.decode_rows(stored, "runs/x"))


def test_a_row_without_a_judge_is_what_it_was_before_there_were_judges():
    plain = Result(1.0, None, 1.0, 2.0, 1, 1, 1, 0, "completed", "", "w", "d")
    assert plain.encode() == '[1.0,null,1.0,2.0,1,1,1,0,"completed","","w","d",[]]'
    assert Result.decode(plain.encode()) == plain


@pytest.mark.parametrize("cost", [None, 0.01])
def test_what_judges_cost_is_in_the_row_though_they_decided_nothing(cost):
    cancelled = Result(None, 0.1, 1.0, 2.0, 1, 1, 1, 0, "cancelled", "", "w", "d", judge_cost_usd=cost)
    assert Result.decode(cancelled.encode()).judge_cost_usd == cost
