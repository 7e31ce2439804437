"""Where a site has a key: who can order work, and who only believes to."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from salvo_core.fleet.foreign import ForeignMessages
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
OLD, NEW = "the key of last year; 32 bytes or more", "the key of this year; 32 bytes or more"


async def counted(fleet: Fleet) -> Counter[str]:
    """Return how many messages were set aside, by reason."""
    counts = await ForeignMessages(fleet.manifest.redis, "here").counts()
    return Counter({str(reason): count for reason, count in counts.items()})


async def test_only_signed_orders_are_run_and_a_run_ordered_without_the_key_says_so(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script()}):
        (worker,) = await fleet.start(environ={"SALVO_SIGNING_KEY": f"{NEW},{OLD}"})
        fleet.dispatcher.signer = Signer((OLD,))  # whoever submits has not changed keys yet
        plan = await fleet.submit(scenario(MODEL), trials=4)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        assert {row.status for row in await fleet.rows(plan)} == {"passed"}
        assert not await counted(fleet)
        asked = fleet.asked()

        fleet.dispatcher.signer = Signer()
        stranger = await fleet.submit(scenario(MODEL), trials=2)
        # Its messages are set aside. Then a sweep sends them again, signed, for it cannot know better;
        # but the plan carries no signature, so the trials end before anybody is asked.
        await fleet.sealed(stranger)
        await fleet.dispatcher.publish(plan.messages(0, 1))
        fleet.dispatcher.signer = Signer(("a key that somebody made up, long enough",))
        await fleet.dispatcher.publish(plan.messages(1, 2))
        expected = {"unsigned": 3, "bad signature": 1}
        await until(lambda: _is_counted(fleet, expected), f"{expected} are set aside")
        traces = await fleet.audit(stranger)
    assert worker.is_alive
    assert fleet.asked() == asked
    for trace in traces:
        assert trace.status == "infra_error"
        assert trace.error is not None
        assert "is not an order of this site: unsigned" in trace.error.message
        assert "SALVO_SIGNING_KEY" in trace.error.hint
    written = worker.log() + json.dumps([trace.model_dump(mode="json") for trace in traces])
    assert OLD not in written
    assert NEW not in written


async def test_a_plan_that_was_put_in_the_place_of_a_signed_one_is_not_run(fleet: Fleet) -> None:
    fleet.dispatcher.signer = Signer((NEW,))
    async with fleet.provider({MODEL: script()}):
        changed = await fleet.submit(scenario(MODEL), trials=2)
        swapped = await fleet.submit(scenario(MODEL), trials=2)
        another = await fleet.submit(scenario(MODEL), trials=2)
        theirs = changed.model_copy(update={"labels": {"user": "somebody else"}})
        await fleet.store.put(keys.plan(changed.run_id), theirs.encode()[0])
        await fleet.store.put(keys.plan(swapped.run_id), await fleet.store.get(keys.plan(another.run_id)))
        key = fleet.folder / "signing-key"
        key.write_text(f"{NEW}\n")
        (worker,) = await fleet.start(environ={"SALVO_SIGNING_KEY_FILE": str(key)})
        await fleet.sealed(another)
        for plan in (changed, swapped):
            await fleet.until_ended(plan, 2)
            assert {row.status for row in await fleet.rows(plan)} == {"infra_error"}
    assert worker.is_alive
    assert {trace_id for trace_id, _ in fleet.asked()} == {another.trace_id(index) for index in range(2)}


async def _is_counted(fleet: Fleet, expected: dict[str, int]) -> bool:
    return await counted(fleet) == expected
