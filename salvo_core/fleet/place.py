"""A place in the queue before a turnstile, and the permit that whoever stood there gets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol


class Queue(Protocol):
    """What a place asks of the turnstile it is before."""

    def now_s(self) -> float:
        """Return the worker's clock, seconds."""
        ...

    def give_back(self, permit: Permit) -> None:
        """Give a permit back that was not used."""
        ...

    def forget(self, place: Place) -> None:
        """Let a place go."""
        ...


@dataclass(eq=False, slots=True)
class Permit:
    """The right to send one exchange.

    Attributes:
        began_s: When it was given, on the worker's clock.
        waited_s: How long somebody waited for it.
        counted: Whether Redis knows of it.
        tokens: Its estimate.
        open: Whether it was not given back yet.
    """

    began_s: float
    waited_s: float = 0.0
    counted: bool = False
    tokens: int = 0
    open: bool = True


class Place:
    """One exchange's place in the queue before a turnstile.

    Args:
        turnstile: Before which.
        run_id: Whose trial it is of.
        who: The trial's id.
        tokens: As estimated.
        permit: If it need not wait.
    """

    def __init__(
        self, turnstile: Queue, run_id: str, who: str, tokens: int, permit: Permit | None = None
    ) -> None:
        self.run_id = run_id
        self.who = who
        self.tokens = tokens
        self.since_s = turnstile.now_s()
        self.ready: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        self._turnstile = turnstile
        if permit is not None:
            self.ready.set_result(permit)

    async def within(self, wait_s: float) -> Permit | None:
        """Return the permit as soon as it is given, None if it is not within so many seconds."""
        if not self.ready.done():
            await asyncio.wait({self.ready}, timeout=wait_s)
        return self.ready.result() if self.ready.done() else None

    def leave(self) -> None:
        """Give up the place, or the permit that was given and not used."""
        if self.ready.done():
            if not self.ready.cancelled():
                self._turnstile.give_back(self.ready.result())
        else:
            self.ready.cancel()
            self._turnstile.forget(self)
