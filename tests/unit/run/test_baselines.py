"""Baselines: what may be a name, and what a name stands for."""

from datetime import UTC, datetime

import pytest

from salvo_core.errors import NotFound, ObjectCorrupt, UsageError
from salvo_core.run.baselines import (
    baseline,
    baseline_names,
    find_baseline,
    remove_baseline,
    require_name,
    set_baseline,
)
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.unit.run.builders import RUN_ID

OTHER_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c333"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("name", ["main", "v1.2", "feature-x", "0.9", "nightly_berlin", "a" * 30 + "z" * 34])
def test_such_names_can_be_used(name):
    assert require_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "Main", "../main", "feature/x", ".hidden", "-o", "a b", "ma\nin", "main\n", "z" * 65, "ünder",
     "latest", "previous", "none", "cafe", "0199c2f4", RUN_ID],
)  # fmt: skip
def test_such_names_mean_something_else_or_could_be_a_path(name):
    with pytest.raises(UsageError) as refused:
        require_name(name)
    assert refused.value.hint


async def test_a_name_stands_for_the_run_that_it_was_set_to_last():
    store = MemoryStore()
    await set_baseline("main", RUN_ID, store, at=NOW)
    await set_baseline("main", OTHER_ID, store, at=NOW)
    found = await baseline("main", store)
    assert (found.name, found.run_id, found.set_at) == ("main", OTHER_ID, NOW)


async def test_names_are_listed_in_order_and_strangers_files_are_not():
    store = MemoryStore()
    for name in ("v2", "main", "v1"):
        await set_baseline(name, RUN_ID, store, at=NOW)
    await store.put("baselines/README.txt", b"hello")
    assert await baseline_names(store) == ["main", "v1", "v2"]


async def test_what_nobody_set_is_not_found_and_what_no_name_can_be_is_not_looked_up():
    store = MemoryStore()
    assert await find_baseline("main", store) is None
    assert await find_baseline("../plan", store) is None
    assert await find_baseline("latest", store) is None
    with pytest.raises(NotFound, match="no baseline 'main'"):
        await baseline("main", store)
    with pytest.raises(NotFound):
        await remove_baseline("main", store)


async def test_a_damaged_baseline_says_so_and_can_be_removed():
    store = MemoryStore()
    await set_baseline("main", RUN_ID, store, at=NOW)
    stored = await store.get(keys.baseline("main"))
    await store.put(keys.baseline("main"), stored[:-5])
    with pytest.raises(ObjectCorrupt):
        await find_baseline("main", store)
    await remove_baseline("main", store)
    assert await baseline_names(store) == []


async def test_a_baseline_copied_under_another_name_is_not_that_one():
    store = MemoryStore()
    await set_baseline("main", RUN_ID, store, at=NOW)
    await store.put(keys.baseline("other"), await store.get(keys.baseline("main")))
    with pytest.raises(ObjectCorrupt):
        await find_baseline("other", store)
