"""Each channel is told once for an alert's id, as far as that can be known."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salvo_core.alerts.channel import ChannelFailed
from salvo_core.alerts.delivery import CLAIM_S, TRIES_MAX, WAIT_FIRST_S, WAIT_S_MAX, deliver
from salvo_core.errors import StoreUnavailable
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from tests.unit.alerts.builders import HandClock, Pretend, an_alert, raising


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def refusing() -> Any:
    return raising(ChannelFailed("host answered 500", hint="look there"))


async def test_each_channel_is_told_once_however_often_it_is_delivered(
    store: MemoryStore, clock: HandClock
) -> None:
    channels = [Pretend("ops"), Pretend("chat")]
    for _ in range(3):
        found = await deliver(an_alert(), channels, store, clock)
        assert [(one.channel, one.told, one.said) for one in found] == [
            ("ops", True, "ok"),
            ("chat", True, "ok"),
        ]
        clock.passes(CLAIM_S * 100)
    assert [channel.heard for channel in channels] == [["0f3a.alert"]] * 2


async def test_the_all_clear_of_an_incident_is_another_thing_to_tell(
    store: MemoryStore, clock: HandClock
) -> None:
    channel = Pretend("ops")
    for alert in (an_alert(), an_alert(id="0f3a.clear", kind="all clear")):
        await deliver(alert, [channel], store, clock)
    assert channel.heard == ["0f3a.alert", "0f3a.clear"]


async def test_of_two_who_deliver_at_once_one_tells(store: MemoryStore, clock: HandClock) -> None:
    channel = Pretend("ops")
    many = await asyncio.gather(*(deliver(an_alert(), [channel], store, clock) for _ in range(8)))
    assert channel.heard == ["0f3a.alert"]
    assert sorted(one.state for (one,) in many) == ["told", *["under way"] * 7]
    ((one,),) = [await deliver(an_alert(), [channel], store, clock)]
    assert one.told


async def test_one_channels_failure_keeps_no_other_waiting(store: MemoryStore, clock: HandClock) -> None:
    broken, well = Pretend("ops", raising(ValueError("https://host/secret"))), Pretend("chat")
    failed, told = await deliver(an_alert(), [broken, well], store, clock)
    assert (failed.state, told.state) == ("failed", "told")
    assert "ValueError" in failed.said
    assert "secret" not in failed.said


async def test_what_failed_is_tried_again_when_its_wait_is_over_and_not_before(
    store: MemoryStore, clock: HandClock
) -> None:
    channel = Pretend("ops", refusing(), refusing())
    (first,) = await deliver(an_alert(), [channel], store, clock)
    assert (first.state, first.tries, first.said, first.hint) == (
        "failed",
        1,
        "host answered 500",
        "look there",
    )
    clock.passes(WAIT_FIRST_S - 1)
    assert (await deliver(an_alert(), [channel], store, clock)) == [first]
    clock.passes(1)
    (second,) = await deliver(an_alert(), [channel], store, clock)
    assert (second.state, second.tries) == ("failed", 2)
    clock.passes(WAIT_FIRST_S)
    assert (await deliver(an_alert(), [channel], store, clock)) == [second]
    clock.passes(WAIT_FIRST_S)
    (third,) = await deliver(an_alert(), [channel], store, clock)
    assert (third.state, third.tries, len(channel.heard)) == ("told", 3, 3)


async def test_a_receivers_own_wish_is_waited_for_up_to_a_bound(store: MemoryStore, clock: HandClock) -> None:
    wishes = (200.0, 1e9)
    channel = Pretend("ops", *(raising(ChannelFailed("busy", retry_after_s=wish)) for wish in wishes))
    for expected_s in (200.0, WAIT_S_MAX):
        (failed,) = await deliver(an_alert(), [channel], store, clock)
        assert failed.next_at is not None
        assert (failed.next_at - clock.now()).total_seconds() == expected_s
        clock.at = failed.next_at


async def test_tries_come_to_an_end(store: MemoryStore, clock: HandClock) -> None:
    channel = Pretend("ops", *(refusing() for _ in range(TRIES_MAX + 5)))
    for _ in range(TRIES_MAX + 5):
        (last,) = await deliver(an_alert(), [channel], store, clock)
        clock.passes(WAIT_S_MAX)
    assert len(channel.heard) == TRIES_MAX
    assert (last.tries, last.next_at) == (TRIES_MAX, None)


async def test_who_died_between_telling_and_noting_it_is_told_for_again_with_the_same_id(
    store: MemoryStore, clock: HandClock
) -> None:
    channel = Pretend("ops", raising(asyncio.CancelledError()))
    with pytest.raises(asyncio.CancelledError):
        await deliver(an_alert(), [channel], store, clock)
    (waiting,) = await deliver(an_alert(), [channel], store, clock)
    assert waiting.state == "under way"
    clock.passes(CLAIM_S)
    (told,) = await deliver(an_alert(), [channel], store, clock)
    assert told.told
    assert channel.heard == ["0f3a.alert"] * 2


async def test_who_was_taken_for_dead_and_told_after_all_is_believed(
    store: MemoryStore, clock: HandClock
) -> None:
    slow, quick = Pretend("ops"), Pretend("ops")
    begun, goes_on = asyncio.Event(), asyncio.Event()
    heard = slow.send

    async def slowly(*told: Any) -> str:
        begun.set()
        await goes_on.wait()
        return await heard(*told)

    slow.send = slowly  # type: ignore[method-assign]
    first = asyncio.create_task(deliver(an_alert(), [slow], store, clock))
    await begun.wait()
    clock.passes(CLAIM_S)
    await deliver(an_alert(), [quick], store, clock)
    goes_on.set()
    await first
    assert quick.heard == ["0f3a.alert"]
    (now,) = await deliver(an_alert(), [Pretend("ops", refusing())], store, clock)
    assert (now.told, now.tries) == (True, 2)


class Forgetful(MemoryStore):
    """A store that is away when it should be noted that somebody was told."""

    away = True

    async def put_if_absent(self, key: str, body: bytes) -> bool:
        if self.away and key == keys.told("nightly", "0f3a.alert", "ops"):
            raise StoreUnavailable("the store is away")
        return await super().put_if_absent(key, body)


async def test_a_store_that_is_away_is_said_after_the_other_channels_were_seen_to(clock: HandClock) -> None:
    store = Forgetful()
    ops, chat = Pretend("ops"), Pretend("chat")
    with pytest.raises(StoreUnavailable):
        await deliver(an_alert(), [ops, chat], store, clock)
    assert (ops.heard, chat.heard) == (["0f3a.alert"], ["0f3a.alert"])
    store.away = False
    clock.passes(CLAIM_S)
    assert all(one.told for one in await deliver(an_alert(), [ops, chat], store, clock))
    assert (len(ops.heard), len(chat.heard)) == (2, 1)
