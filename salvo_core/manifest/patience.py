"""Waiting for a Redis that is away: what is in hand is paid for, so it is kept and told again.

Every script of the manifest may be sent twice, so whoever cannot tell whether a call arrived
asks again. Whether the trial is still theirs, Redis says once it is back: nobody decides that by a clock of
their own.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from salvo_core.clock import Clock
from salvo_core.errors import RedisUnavailable

PATIENCE_S = 3600.0
"""How long one call waits for a Redis that is away; as long as a trace waits for its store."""

WAIT_FIRST_S, WAIT_MAX_S = 0.1, 2.0
"""Pauses between tries. The longest is short beside a lease: others wait that long for a word from us."""

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


async def patiently(
    ask: Callable[[], Awaitable[Answer]],
    clock: Clock,
    what: str,
    *,
    may_wait: Callable[[], bool] = lambda: True,
    patience_s: float = PATIENCE_S,
) -> Answer:
    """Return what Redis answers, asking again for as long as it cannot be reached or refuses.

    Args:
        ask: Asks once; must be safe to do twice.
        clock: Measures, and waits.
        what: Who waits, for the log.
        may_wait: Asked after each failure; False ends the patience.
        patience_s: How long to go on asking, seconds.

    Raises:
        RedisUnavailable: Of the last try, when patience ran out.
    """
    wait_s, began_s = WAIT_FIRST_S, clock.monotonic_s()
    while True:
        try:
            answer = await ask()
        except RedisUnavailable as error:
            waited_s = clock.monotonic_s() - began_s
            if waited_s >= patience_s or not may_wait():
                raise
            if wait_s == WAIT_FIRST_S:
                logger.warning("%s waits for Redis: %s", what, error)
        else:
            if wait_s > WAIT_FIRST_S:
                logger.info("%s goes on, having waited %.1f s", what, clock.monotonic_s() - began_s)
            return answer
        await clock.sleep(wait_s)
        wait_s = min(wait_s * 2, WAIT_MAX_S)
