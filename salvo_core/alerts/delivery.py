"""Telling: each channel once for an alert's id, as far as that can be known.

Three moments of a try, and what holds if the process dies at each:

- Before its object is stored nothing was sent; whoever comes next begins the try.
- Between that and the end of the try nobody knows whether the channel heard. The object says when the try
  began; CLAIM_S later somebody else makes another, and a receiver may see one id twice.
- After the channel took it, before that is stored: the same. Once it is stored, nobody tells again.

A try is begun by who makes its object, of two at once therefore by one. Where a store does not keep the
first of two writers (``salvo doctor`` says so), two beats at once could both tell; one at a time is elected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.channel import SEND_S_MAX, Channel, ChannelFailed
from salvo_core.clock import Clock
from salvo_core.errors import ObjectMissing
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

logger = logging.getLogger(__name__)

SCHEMA = "salvo.delivery/1"
CLAIM_S = 180.0
"""Of a try whose end nobody stored it is assumed after so long that nobody makes it any more."""
WAIT_FIRST_S = 30.0
WAIT_S_MAX = 3600.0
"""Between tries: it doubles from the one to the other. A receiver's own wish is followed up to it."""
TRIES_MAX = 60
"""More than two days of them."""


class Delivery(Frozen):
    """How far one channel is with one alert."""

    alert: str = Field(pattern=keys.ALERT_ID)
    """The alert's id."""
    channel: str = Field(max_length=64)
    state: Literal["told", "under way", "failed"]
    """``under way``: somebody is at it, or was a moment ago."""
    tries: int = Field(ge=1, le=999)
    at: AwareDatetime
    """When the last try began."""
    next_at: AwareDatetime | None = None
    """When the next is due; None where it is told, or was tried TRIES_MAX times."""
    said: str = Field(default="", max_length=1_000)
    """What the channel answered, or why it failed; for a person, without secrets."""
    hint: str = Field(default="", max_length=1_000)

    @property
    def told(self) -> bool:
        """Whether the channel took it."""
        return self.state == "told"


async def deliver(alert: Alert, channels: Sequence[Channel], store: Store, clock: Clock) -> list[Delivery]:
    """Tell every channel that was not told of this alert yet; return how far each is.

    Calling again is always right: it tries again what failed once its wait is over, and tells nobody
    twice who is known to have been told. One channel's failure keeps no other waiting.

    Args:
        alert: What is told.
        channels: Whom.
        store: Where it is kept who was told.
        clock: Measures and waits.

    Returns:
        One for each channel, in their order.

    Raises:
        StoreUnavailable, StoreRefused: It cannot be kept who was told; the other channels were seen to.
    """
    found = await asyncio.gather(
        *(_tell(alert, channel, store, clock) for channel in channels), return_exceptions=True
    )
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, Delivery)]


async def _tell(alert: Alert, channel: Channel, store: Store, clock: Clock) -> Delivery:
    last = await _last(alert, channel, store)
    if last is not None and not _is_due(last, clock.now()):
        return last
    number = last.tries + 1 if last else 1
    began = Delivery(
        alert=alert.id,
        channel=channel.name,
        state="under way",
        tries=number,
        at=clock.now(),
        next_at=clock.now() + timedelta(seconds=CLAIM_S),
    )
    place = keys.telling(alert.schedule, alert.id, channel.name, number)
    if not await store.put_if_absent(place, _stored(began)):
        return began  # somebody else began it a moment ago
    # Since we looked, somebody whom we took for dead may have ended a try.
    last = await _last(alert, channel, store)
    if last is not None and last.told:
        return last
    ended = await _try(alert, channel, began, clock)
    if ended.told:
        await store.put_if_absent(keys.told(alert.schedule, alert.id, channel.name), _stored(ended))
    else:
        await store.put(place, _stored(ended))
    return ended


async def _try(alert: Alert, channel: Channel, began: Delivery, clock: Clock) -> Delivery:
    """Tell a channel; whatever it does, return what came of it."""
    retry_after_s = None
    try:
        async with asyncio.timeout(SEND_S_MAX):
            said = await channel.send(alert, clock)
        logger.info("alert %s of %s: %s was told", alert.id, alert.schedule, channel.name)
        return began.model_copy(update={"state": "told", "next_at": None, "said": said[:1_000]})
    except ChannelFailed as error:
        said, hint, retry_after_s = error.message, error.hint, error.retry_after_s
    except TimeoutError:
        said, hint = f"it took longer than {SEND_S_MAX:g} s", ""
    except Exception as error:  # wide on purpose: one channel never keeps the others
        # Its text might quote an address.
        said, hint = f"it failed with {type(error).__name__}, which is a bug of ours", ""
    logger.warning("alert %s of %s: %s was not told: %s", alert.id, alert.schedule, channel.name, said)
    wait_s = min(max(WAIT_FIRST_S * 2.0 ** (began.tries - 1), retry_after_s or 0.0), WAIT_S_MAX)
    due = None if began.tries >= TRIES_MAX else clock.now() + timedelta(seconds=wait_s)
    return began.model_copy(
        update={"state": "failed", "next_at": due, "said": said[:1_000], "hint": hint[:1_000]}
    )


async def _last(alert: Alert, channel: Channel, store: Store) -> Delivery | None:
    """Return how far a channel is: that it was told, else its last try, None if there was none."""
    told = keys.told(alert.schedule, alert.id, channel.name)
    newest = ""
    async for key in store.list(keys.tellings(alert.schedule, alert.id, channel.name)):
        if key == told:
            newest = key
            break
        if keys.parse_telling(key) is not None:
            newest = max(newest, key)
    if not newest:
        return None
    try:
        body = codec.decode(SCHEMA, await store.get(newest), where=newest)
    except ObjectMissing:  # a person removed it just now
        return None
    return codec.validated(Delivery, body, where=newest, what="what became of an alert")


def _is_due(last: Delivery, now: datetime) -> bool:
    return last.next_at is not None and last.next_at <= now


def _stored(delivery: Delivery) -> bytes:
    return codec.encode(SCHEMA, delivery.model_dump(mode="json"), compress=False)[0]


async def deliveries(alert: Alert, store: Store) -> list[Delivery]:
    """Return how far each channel is that was ever tried for an alert, by name.

    Raises:
        ObjectCorrupt: What is stored of one is damaged.
    """
    found: dict[str, Delivery] = {}
    async for key in store.list(keys.alert(alert.schedule, alert.id)):
        body = codec.decode(SCHEMA, await store.get(key), where=key)
        one = codec.validated(Delivery, body, where=key, what="what became of an alert")
        before = found.get(one.channel)
        if before is None or (not before.told and (one.told or one.tries >= before.tries)):
            found[one.channel] = one
    return [found[name] for name in sorted(found)]
