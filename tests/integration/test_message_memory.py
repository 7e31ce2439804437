"""What a queued trial takes of Redis, against what an order is refused by."""

from __future__ import annotations

import pytest

from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.manifest.connection import connect
from salvo_core.manifest.memory import MESSAGE_BYTES
from salvo_core.run.plan import TrialMessage
from salvo_core.run.signature import Signer
from salvo_worker.letter import NUMBERS, QUEUES, letter

pytestmark = pytest.mark.servers
COUNT = 5_000


@pytest.mark.parametrize("flavour", ["valkey", "redis7"])
async def test_the_largest_usual_message_takes_what_an_order_sets_aside_for_it(redis_servers, flavour):
    # Signed, of the last trials of a million times a hundred cells, in the lane with the longest name.
    server = redis_servers(flavour)
    server.flush()
    run_id, last = new_run_id(), 10**8 - 1
    queue, number = max(QUEUES, key=len), NUMBERS["low"]
    letters = [
        letter(
            TrialMessage(run_id=run_id, cell=index % 100, index=index, trace_id=trace_id_for(run_id, index)),
            queue,
            number,
            Signer(("k" * 32,)),
        )
        for index in range(last - COUNT, last)
    ]
    redis = connect(server.url)
    try:
        before = (await redis.memory_stats())["dataset.bytes"]
        for start in range(0, COUNT, 500):
            await redis.lpush(queue, *letters[start : start + 500])
        each = ((await redis.memory_stats())["dataset.bytes"] - before) / COUNT
    finally:
        await redis.aclose()
    assert each <= MESSAGE_BYTES
    assert each >= 0.8 * MESSAGE_BYTES, "so much less is set aside for nothing: measure, and lower it"
