"""Following a run until it ends: what is shown, and what Ctrl-C does."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live

from salvo_cli import exits
from salvo_cli.render import progress
from salvo_cli.render.console import marks, plain
from salvo_cli.render.naming import cell_names
from salvo_cli.render.numbers import plural
from salvo_cli.wiring import Site
from salvo_core.errors import RedisUnavailable, SalvoError
from salvo_core.manifest.counters import RunCounts

if TYPE_CHECKING:
    from salvo_core.fleet.breaker import Trouble
    from salvo_core.fleet.limits import Queue

LOOKS_PER_S = 4
FIRST_LOOKS_PER_S = 20
FIRST_S = 3.0
"""A run of a few quick trials is over by then: whoever tries a scenario out waits for every look."""
TERSE_EVERY_S = 5.0
WORKERS_EVERY_S = 5.0
NO_WORKERS_EVERY_S = 0.5
"""While there are none they are about to come."""

SEALED_WITHIN_S = 3.0
"""A worker seals a run when its last trial ends; if none did by then, we do."""

OUTAGE_S_MAX = 60.0
NO_WORKER_S = 15.0
TROUBLES_EVERY_S = 1.0
CELLS_LABELLED_MAX = progress.CELLS_SHOWN_MAX


@asynccontextmanager
async def interruptible() -> AsyncIterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second one leaves at once."""
    asked = asyncio.Event()

    def on_signal() -> None:
        if asked.is_set():
            os.write(2, b"\n\x1b[?25h" if os.isatty(2) else b"\n")  # a live display hides the cursor
            os._exit(exits.INTERRUPTED)
        asked.set()

    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, on_signal)
    try:
        yield asked
    finally:
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(sign)


class Follower:
    """Watches one run.

    Args:
        site: Where it is.
        run_id: Which.
        screen: Where progress goes (stderr); None shows nothing.
        labels: How to call each cell.
        note: A line under the live display.
        look_after: Called at every look: keeps a worker of ours alive.
    """

    def __init__(
        self,
        site: Site,
        run_id: str,
        *,
        screen: Console | None,
        labels: Sequence[str] = (),
        note: str = "",
        look_after: Callable[[], None] | None = None,
    ) -> None:
        self._site = site
        self._run_id = run_id
        self._screen = screen
        self._labels = labels
        self._note = note
        self._look_after = look_after
        self._finished_since_s: float | None = None
        self._outage_since_s: float | None = None
        self._workers = ""
        self._workers_due_s = 0.0
        self._idle_since_s: float | None = None
        self._said_at_s = -TERSE_EVERY_S
        self._said = ""
        self._warned = False
        self._troubles: list[Trouble] = []
        self._queues: list[Queue] = []
        self._troubles_due_s = 0.0

    async def until_sealed(self, stop: asyncio.Event, timeout_s: float | None = None) -> RunCounts | None:
        """Return the run's last counts once it is sealed; None when stop was set or time ran out.

        A run that is paused ends the wait too: its counts are returned, nothing moves any more.

        Raises:
            RedisUnavailable: Redis has been away for OUTAGE_S_MAX.
        """
        live, began_s = self._live(), self._now_s()
        deadline_s = None if timeout_s is None else began_s + timeout_s
        if live is not None:
            live.start()
        try:
            while True:
                counts = await self._look()
                if counts is not None:
                    self._show(counts, live)
                    if counts.state in ("sealed", "paused"):
                        return counts
                early = self._now_s() - began_s < FIRST_S
                wait_s = 1 / (FIRST_LOOKS_PER_S if early else LOOKS_PER_S)
                if deadline_s is not None:
                    if self._now_s() >= deadline_s:
                        return None
                    wait_s = min(wait_s, deadline_s - self._now_s())
                if await _set_within(stop, wait_s):
                    return None
        finally:
            if live is not None:
                live.stop()

    def _live(self) -> Live | None:
        if self._screen is None or not self._screen.is_terminal or self._screen.is_dumb_terminal:
            return None
        return Live(console=self._screen, auto_refresh=False, transient=True)

    def _now_s(self) -> float:
        return self._site.clock.monotonic_s()

    async def _look(self) -> RunCounts | None:
        """Return the counts; None while Redis is away for a moment."""
        try:
            counts = await self._site.observer.status(self._run_id)
            await self._refresh_workers(counts)
            await self._seal_if_nobody_does(counts)
            await self._refresh_troubles(counts)
        except RedisUnavailable as error:
            now_s = self._now_s()
            if self._outage_since_s is None:
                self._outage_since_s = now_s
                self._warn(f"{error.message}; trying again for {OUTAGE_S_MAX:.0f} s")
            if now_s - self._outage_since_s > OUTAGE_S_MAX:
                raise
            return None
        self._outage_since_s = None
        if self._look_after is not None and counts.state != "sealed":
            self._look_after()
        return counts

    async def _refresh_workers(self, counts: RunCounts) -> None:
        now_s = self._now_s()
        if now_s < self._workers_due_s:
            return
        workers = await self._site.registry.workers()
        self._workers_due_s = now_s + (WORKERS_EVERY_S if workers else NO_WORKERS_EVERY_S)
        self._workers = plural(len(workers), "worker")
        if workers or counts.statuses["running"] or counts.state not in ("submitting", "running"):
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s >= NO_WORKER_S and not self._warned:
            self._warned = True
            self._warn("no worker is there to run the trials; start one with `salvo worker`")

    async def _refresh_troubles(self, counts: RunCounts) -> None:
        now_s = self._now_s()
        if now_s >= self._troubles_due_s:
            self._troubles_due_s = now_s + TROUBLES_EVERY_S
            moving = counts.state in progress.MOVING
            self._troubles, self._queues = await awaited(self._site, self._run_id) if moving else ([], [])

    async def _seal_if_nobody_does(self, counts: RunCounts) -> None:
        if counts.state != "finished":
            self._finished_since_s = None
        elif self._finished_since_s is None:
            self._finished_since_s = self._now_s()
        elif self._now_s() - self._finished_since_s >= SEALED_WITHIN_S:
            from salvo_core.seal import seal  # hardly ever ours to do

            await seal(self._run_id, store=self._site.store, manifest=self._site.manifest)

    def _show(self, counts: RunCounts, live: Live | None) -> None:
        if live is not None:
            view = progress.live(
                counts,
                self._labels,
                signs=marks(live.console),
                workers=self._workers,
                note=self._note,
                troubles=self._troubles,
                queues=self._queues,
            )
            live.update(view, refresh=True)
        elif self._screen is not None:
            line, now_s = progress.terse(counts, self._troubles, self._queues), self._now_s()
            settled = counts.state in ("sealed", "paused")
            if line != self._said and (settled or now_s - self._said_at_s >= TERSE_EVERY_S):
                self._said, self._said_at_s = line, now_s
                self._screen.print(plain(line), soft_wrap=True)

    def _warn(self, text: str) -> None:
        if self._screen is not None:
            self._screen.print(plain(f"warning: {text}", "yellow"), soft_wrap=True)


async def cell_labels(site: Site, run_id: str) -> list[str]:
    """Return how to call each cell of a run; nothing if there are too many."""
    plan = await site.observer.plan(run_id)
    return cell_names(plan.cells) if 1 < len(plan.cells) <= CELLS_LABELLED_MAX else []


async def awaited(site: Site, run_id: str) -> tuple[list[Trouble], list[Queue]]:
    """Return the providers of a run that may not be asked now, and those whose limits its trials wait for."""
    try:
        plan = await site.observer.plan(run_id)
    except SalvoError:
        return [], []  # somebody lost it, and says so elsewhere
    providers = {cell.adapter for cell in plan.cells} | {plan.judge.adapter}
    queues = await site.limits.queues(providers)
    return await site.breakers.troubles(providers), [queue for queue in queues if run_id in queue.runs]


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), max(seconds, 0))
    except TimeoutError:
        return False
    return True
