"""The archive of a run's rows: what is sealed can be read, however many rows it has."""

import pytest

from salvo_core.errors import ObjectCorrupt
from salvo_core.manifest import archive
from salvo_core.manifest.archive import ARCHIVE_BYTES_MAX, decode_rows, encode_rows
from salvo_core.manifest.rows import Row
from salvo_core.run.plan import RUN_TRIALS_MAX
from salvo_core.trace.codec import DOCUMENT_BYTES_MAX
from tests.unit.run.builders import RUN_ID, row

# With a judge's part, ten failed assertions of twenty, and a worker's name as long as a host's may be.
LONG = {
    "worker": f"{'w' * 63}-4194304-0123456789ab",
    "failed": tuple((index, 0.123456) for index in range(0, 20, 2)),
    "judge_cost_usd": 0.123456,
    "digest": "f" * 64,
    "cost_usd": 1.234567,
    "latency_s": 1234.567,
    "duration_s": 1234.567,
    "input_tokens": 1_234_567,
}


def test_rows_come_back_as_they_were():
    rows = [row(0), row(1, "failed", 0.25), row(2, "skipped"), row(3, "infra_error")]
    assert list(decode_rows(encode_rows(RUN_ID, rows), "manifest")) == rows


def test_an_archive_may_be_larger_than_any_other_document():
    # A million rows in one: what counts is the size, and a short way to it.
    long = Row(0, "skipped", 0, row(0).trace_id, reason="x" * (DOCUMENT_BYTES_MAX + 1))
    assert list(decode_rows(encode_rows(RUN_ID, [long]), "manifest")) == [long]


def test_what_unpacks_to_more_than_any_archive_is_refused(monkeypatch):
    monkeypatch.setattr(archive, "ARCHIVE_BYTES_MAX", 100)
    with pytest.raises(ObjectCorrupt, match="unpacks to more than 100 bytes"):
        list(decode_rows(encode_rows(RUN_ID, [row(0)]), "manifest"))


def test_the_largest_run_that_can_be_ordered_fits_its_archive():
    usual, long = row(999_999), row(999_999, "failed", 0.123456, **LONG)
    sizes = [len(one.encode().encode()) + len(f'[{RUN_TRIALS_MAX},"",],') for one in (usual, long)]
    # Every tenth as long as they come, and quotes escaped.
    assert RUN_TRIALS_MAX * (0.9 * sizes[0] + 0.1 * sizes[1]) * 1.05 < ARCHIVE_BYTES_MAX
