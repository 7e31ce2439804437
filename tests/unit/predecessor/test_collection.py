"""What is found in the predecessor's folder, and how each kind of damage is named."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.carry_over import pack
from salvo_core.predecessor.collection import Collection
from salvo_core.predecessor.conversion import convert
from salvo_core.predecessor.folder import Folder
from salvo_core.trace.redaction import Redactor
from tests.past import SECRET, Past, conversation, judged, past_id, snapshot, trial


@pytest.fixture
def past(tmp_path):
    return Past(tmp_path)


def opened(past):
    made = Collection(Folder(past.folder))
    made.open()
    return made


def skipped(collection):
    return {one.file: one.why for one in collection.skipped}


def test_a_whole_folder_yields_its_runs_in_order_and_nothing_is_skipped(past):
    later, earlier = past.run(2), past.run(1, recorded=None)
    collection = opened(past)
    assert collection.run_ids == [earlier, later]
    runs = {run_id: collection.run(run_id) for run_id in collection.run_ids}
    assert collection.skipped == []
    assert collection.leftovers() == (0, 0)
    assert (runs[later].marked, runs[earlier].marked) == (True, False)
    assert [one.trace_id for one in runs[later].trials] == [
        past_id(2001, 1_767_225_598_000),
        past_id(2002, 1_767_225_598_000),
    ]
    assert all(one.recording for one in runs[later].trials)
    assert runs[earlier].snapshot == snapshot()  # by its hash, from the other run's recording


def test_an_unrecorded_run_of_another_scenario_has_no_snapshot(past):
    past.run(1)
    other = past.run(2, recorded=None, scenario=snapshot(prompt="Something else."))
    assert opened(past).run(other).snapshot is None


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (b'{"run_id": ', "holds no JSON"),
        (b"[]", "is not what it should be"),
        (b'{"schema_version": 2}', "was written by a later salvo-ai"),
        (lambda suite: suite | {"trials": []}, "is a run without a trial"),
        (lambda suite: suite | {"trials": suite["trials"] * 2}, "has two trials of one number"),
        (lambda suite: suite | {"run_id": past_id(99)}, "calls itself run"),
        (lambda suite: suite | {"n_requested": 10**9}, "n_requested"),
        (lambda suite: suite | {"trials": [trial(1) | {"status": "great"}]}, "trials.0.status"),
        (lambda suite: suite | {"trials": [trial(1) | {"score": "high"}]}, "trials.0.score"),
        (lambda suite: suite | {"trials": [trial(0)]}, "trials.0.trial_number"),
        (
            lambda suite: {"run_id": suite["run_id"], "result": {}, "metadata": {}},
            "scenario_name: field required",
        ),
    ],
)
def test_a_damaged_run_is_one_line_and_its_traces_are_counted(past, damage, why):
    whole, broken = past.run(1), past.run(2)
    file = past.folder / "runs" / f"{broken}.json"
    file.write_bytes(
        damage if isinstance(damage, bytes) else json.dumps(damage(json.loads(file.read_text()))).encode()
    )
    collection = opened(past)
    assert collection.run(broken) is None
    assert collection.run(whole) is not None
    assert list(skipped(collection)) == [f"runs/{broken}.json"]
    assert why in skipped(collection)[f"runs/{broken}.json"]
    assert collection.leftovers() == (2, 0)


def test_a_damaged_recording_falls_back_to_the_raw_trace_and_a_damaged_raw_one_to_none(past):
    run_id = past.run(1)
    first, second = (one.trace_id for one in opened(past).run(run_id).trials)
    past.write(f"traces/{first}.recorded.json", b'{"metadata": {')
    past.write(
        f"traces/{second}.recorded.json", {"metadata": {"schema_version": 7, "recording_mode": "full"}}
    )
    past.write(f"traces/{second}.json", {**conversation(), "messages": "hello"})
    collection = opened(past)
    one, other = collection.run(run_id).trials
    assert (one.trace is not None, one.recording, other.trace) == (True, None, None)
    assert "later salvo-ai (schema 7" in skipped(collection)[f"traces/{second}.recorded.json"]
    assert "messages: input should be a valid list" in skipped(collection)[f"traces/{second}.json"]
    assert len(collection.skipped) == 3


def test_a_trace_that_is_gone_is_named(past):
    run_id = past.run(1, [trial(1)], traces=False)
    collection = opened(past)
    (only,) = collection.run(run_id).trials
    assert only.trace is None
    assert skipped(collection) == {f"traces/{only.trace_id}.json": "is gone: trial 1 has no trace"}


@pytest.mark.parametrize(
    "trick", ["../../etc/passwd", "/etc/passwd", "x" * 5000, "", "01A20DC0-B652-7EB7-8C1D-21A220D80D0E"]
)
def test_an_id_that_is_none_never_becomes_a_path(past, trick):
    run_id = past.run(1, [trial(1, trace_id=trick)], traces=False)
    collection = opened(past)
    (only,) = collection.run(run_id).trials
    assert (only.trace_id, only.trace) == (None, None)
    assert "no uuid7" in skipped(collection)[f"runs/{run_id}.json"]


def test_two_trials_of_one_trace_id_share_no_trace(past):
    same = past_id(7)
    run_id = past.run(1, [trial(1, trace_id=same), trial(2, trace_id=same)])
    collection = opened(past)
    assert [one.trace_id for one in collection.run(run_id).trials] == [same, None]
    assert "of another trial too" in skipped(collection)[f"runs/{run_id}.json"]


def test_what_crashes_left_is_counted_and_named(past):
    past.run(1)
    past.write(f"traces/{past_id(50)}.json", conversation())
    past.write(f"traces/{past_id(51)}.json.tmp", b"{")
    past.write("runs/notes.txt", b"hello")
    past.write("runs/..json", b"{}")
    (past.folder / "revals").mkdir()
    past.write(f"revals/{past_id(60)}.json", {})
    collection = opened(past)
    collection.run(collection.run_ids[0])
    assert collection.leftovers() == (1, 1)
    assert skipped(collection) == {
        "runs/notes.txt": "is no file of salvo-ai: its name is no id",
        "runs/..json": "is no file of salvo-ai: its name is no id",
        f"traces/{past_id(51)}.json.tmp": "was left by a write that was broken off",
    }


@pytest.mark.parametrize("damage", [b'{"runs": {', b"[]", b'{"schema_version": 1, "runs": []}'])
def test_a_damaged_manifest_costs_only_what_it_alone_knew(past, damage):
    run_id = past.run(1)
    past.write("traces/manifest.json", damage)
    collection = opened(past)
    assert collection.run(run_id).marked  # its recordings say it too
    assert list(skipped(collection)) == ["traces/manifest.json"]


def test_the_index_tells_of_runs_that_are_gone_and_is_not_needed(past):
    run_id = past.run(1)
    past.write("index.json", {"refund desk": [run_id, past_id(8)], "odd": 7, "path": ["../x"]})
    assert skipped(opened(past)) == {"index.json": f"names run {past_id(8)}, whose file is gone"}
    past.write("index.json", b"{")
    assert "the runs' own files are enough" in skipped(opened(past))["index.json"]


def test_the_text_file_that_stands_for_a_link_is_no_surprise(past):
    past.run(1)
    (past.folder / "runs" / "latest").unlink()
    past.write("runs/.latest", b"whatever")
    past.write("traces/.latest-recorded", b"whatever")
    collection = opened(past)
    collection.run(collection.run_ids[0])
    assert (collection.leftovers(), collection.skipped) == ((0, 0), [])


def test_keys_that_nobody_knows_are_named_and_cost_nothing(past):
    run_id = past.run(1, [trial(1) | {"mood": "good"}, trial(2) | {"mood": "bad"}], flavour="new")
    assert opened(past).run(run_id).unknown == ("flavour", "trials.mood")


def test_runs_that_nobody_wants_leave_no_traces_over(past):
    wanted, other = past.run(1), past.run(2)
    collection = opened(past)
    collection.leave([other])
    collection.run(wanted)
    assert collection.leftovers() == (0, 0)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just("2026-01-01T00:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """Every place in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, by):
    if not path:
        return by
    head, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[head] = replaced(value[head], rest, by)
    return copy


@settings(deadline=None, max_examples=120)
@given(drawn=st.data())
def test_whatever_one_value_of_one_file_becomes_nothing_breaks(drawn):
    with tempfile.TemporaryDirectory() as folder:
        past = Past(Path(folder))
        run_id = past.run(1, [trial(1, eval_results=[judged(0.9)]), trial(2, "infra_error")])
        files = sorted(str(path.relative_to(past.folder)) for path in past.folder.rglob("*.json"))
        name = drawn.draw(st.sampled_from(files))
        whole = json.loads((past.folder / name).read_text())
        path = drawn.draw(st.sampled_from(list(places(whole))))
        past.write(name, replaced(whole, path, drawn.draw(json_values)))
        collection = opened(past)
        found = collection.run(run_id) if run_id in collection.run_ids else None
        if found is None:
            assert collection.skipped
        else:
            packed = pack(convert(found, Redactor()), Redactor())
            assert [row.index for row in packed.rows] == list(range(packed.plan.total))
            assert SECRET.encode() not in packed.summary.encode()[0]
        collection.leftovers()


def test_a_run_of_the_year_10000_is_refused(past):
    past.run(1)
    far = past_id(1, 2**48 - 1)
    past.write(
        f"runs/{far}.json",
        json.loads(next((past.folder / "runs").glob("*-*.json")).read_text()) | {"run_id": far},
    )
    collection = opened(past)
    assert collection.run(far) is None
    assert "year 10000" in skipped(collection)[f"runs/{far}.json"]
