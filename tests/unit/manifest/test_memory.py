"""What Redis says of its memory, and which of it is refused."""

import pytest

from salvo_core.errors import RedisUnavailable
from salvo_core.manifest.counters import read_counts
from salvo_core.manifest.memory import (
    GROWTH_BYTES,
    MESSAGE_BYTES,
    ROW_BYTES,
    SHARE_MAX,
    Memory,
    require_lasting,
    require_room,
)

LIMIT = 10_000_000
HEADER = {"state": "running", "cells": "1", "released": "0", "created_ms": "0"}


class Told:
    """A manifest of which only the memory and the open runs are asked for."""

    address = "redis://here"

    def __init__(self, used=0, limit=LIMIT, policy="noeviction", runs=()):
        self.redis = self
        self._info = {"used_memory": used, "maxmemory": limit, "maxmemory_policy": policy}
        self._runs = dict(runs)

    async def info(self, section):
        if section == "cluster":
            return {"cluster_enabled": 0}
        assert section == "memory"
        return self._info

    async def open_runs(self):
        return list(self._runs)

    async def counts(self, run_id):
        total, seeded, ended = self._runs[run_id]
        header = HEADER | {"total": str(total), "seeded": str(seeded)}
        return read_counts(run_id, header, {"passed": str(ended), "pending": str(seeded - ended)}, 0)


def fits(trials, queued, used=0):
    return trials * ROW_BYTES + queued * MESSAGE_BYTES + used <= round(SHARE_MAX * LIMIT)


@pytest.mark.parametrize("used", [0, 2_000_000])
async def test_a_run_is_refused_exactly_when_it_would_not_fit_beside_what_is_there(used):
    most = max(trials for trials in range(5000, 12_000) if fits(trials, trials, used)) if not used else 5000
    assert fits(most, most, used)
    await require_room(Told(used), trials=most, queued=most)
    too_many = next(trials for trials in range(most, 10**5) if not fits(trials, trials, used))
    with pytest.raises(RedisUnavailable, match="no room for this run") as refused:
        await require_room(Told(used), trials=too_many, queued=too_many)
    assert f"{too_many:,} trials" in refused.value.message
    assert "maxmemory" in refused.value.hint


async def test_what_is_queued_at_once_is_what_counts_of_messages():
    trials = 20_000
    assert not fits(trials, trials)
    await require_room(Told(), trials=trials, queued=10)


async def test_what_runs_under_way_will_still_take_is_set_aside():
    free = Told(runs={"a": (20_000, 20_000, 20_000)})
    await require_room(free, trials=6000, queued=6000)
    growing = Told(runs={"a": (20_000, 20_000, 0)})
    assert 20_000 * GROWTH_BYTES + 6000 * (ROW_BYTES + MESSAGE_BYTES) > SHARE_MAX * LIMIT
    with pytest.raises(RedisUnavailable, match=r"4\.2 MiB promised to runs under way"):
        await require_room(growing, trials=6000, queued=6000)


async def test_without_a_limit_there_is_room_for_everything():
    await require_room(Told(used=10**12, limit=0), trials=10**7, queued=10**7)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
async def test_nothing_is_ordered_where_rows_may_be_dropped(policy):
    with pytest.raises(RedisUnavailable, match=f"maxmemory-policy {policy}") as refused:
        await require_room(Told(policy=policy), trials=1, queued=1)
    assert refused.value.hint == "set `maxmemory-policy noeviction`"


def test_a_policy_for_expiring_keys_is_no_matter_without_a_limit():
    require_lasting(Memory(5, 0, "volatile-lru"), "here")
    require_lasting(Memory(5, 10, "noeviction"), "here")
    with pytest.raises(RedisUnavailable):
        require_lasting(Memory(5, 0, "allkeys-lru"), "here")
