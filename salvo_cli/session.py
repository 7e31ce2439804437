"""A run from order to report: what ``run`` and ``resume`` do once the servers are on their way."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from rich.console import Console

from salvo_cli import exits
from salvo_cli.child import ChildWorker
from salvo_cli.following import Follower, cell_labels, interruptible
from salvo_cli.render.console import console, plain, print_json
from salvo_cli.render.numbers import plural, short
from salvo_cli.reporting import import_statistics, tell
from salvo_cli.servers import Servers
from salvo_cli.telling import Telling
from salvo_cli.wiring import Site, Surroundings, open_site
from salvo_core.manifest.counters import RunCounts

if TYPE_CHECKING:
    from salvo_core.manifest.budget import Budget
    from salvo_core.reevaluate import Wish
    from salvo_core.submit import Order


class Session:
    """One person, one run.

    Args:
        here: Project and settings.
        servers: Begun, if the mode is embedded.
        screen: For progress; None is quiet.
        telling: What stdout gets when the run has ended.
        allow_infra: Whether infrastructure errors leave the exit code alone.
    """

    def __init__(
        self,
        here: Surroundings,
        servers: Servers,
        *,
        screen: Console | None,
        telling: Telling,
        allow_infra: bool,
    ) -> None:
        self._here = here
        self._servers = servers
        self._screen = screen
        self._telling = telling
        self._allow_infra = allow_infra

    async def order_and_follow(self, order: Order, command: str) -> int:
        """Submit, follow, report; return the exit code."""
        from salvo_core.submit import submit

        async with interruptible() as stop, open_site(self._here, self._servers.embedded) as site:
            plan = await submit(
                order, store=site.store, manifest=site.manifest, dispatcher=site.dispatcher, clock=site.clock
            )
            cells = plural(len(plan.cells), "cell")
            self._say(f"run {plan.run_id}: {cells}, {plural(plan.total, 'trial')}")
            return await self._follow(site, plan.run_id, stop, command)

    async def reevaluate_and_follow(self, wish: Wish, command: str, *, detach: bool) -> int:
        """Have recorded trials judged again; follow it to its comparison unless detach is set.

        Returns:
            The exit code.
        """
        from salvo_cli.comparing import print_changes
        from salvo_cli.ordering import require_bounds
        from salvo_core.reevaluate import prepare, reevaluate

        async with interruptible() as stop, open_site(self._here, self._servers.embedded) as site:
            prepared = await prepare(wish, site.observer, now=site.clock.now())
            require_bounds(self._here, wish.budget, prepared.judges)
            self._servers.begin_worker()
            print_changes(console(stderr=True), prepared)
            plan = await reevaluate(
                prepared, store=site.store, manifest=site.manifest, dispatcher=site.dispatcher
            )
            rescore = plan.rescore
            assert rescore is not None
            self._say(f"re-evaluation {plan.run_id}: {plural(plan.total, 'trial')} of run {rescore.run_id}")
            if not detach:
                return await self._follow(site, plan.run_id, stop, command)
            self._servers.leave_worker()
            if self._telling.as_json:
                document = {"run_id": plan.run_id, "of": rescore.run_id, "trials": plan.total}
                print_json({"schema": f"salvo.cli.{command}/1", **document})
            else:
                console().print(plain(plan.run_id), soft_wrap=True)
            return exits.OK

    async def resume_and_follow(
        self, ref: str, command: str, *, detach: bool, budget: Budget | None = None
    ) -> int:
        """Let a run go on; follow it to its report unless detach is set; return the exit code."""
        from salvo_core.manifest.pulse import mercy, silence_s
        from salvo_core.resume import resume

        async with interruptible() as stop, open_site(self._here, self._servers.embedded) as site:
            run_id = await site.observer.resolve(ref)
            lease_s = site.settings.lease_s
            left_s = await mercy(
                site.manifest, silence_s=silence_s(lease_s, site.settings.sweep_s), mercy_s=lease_s
            )
            resumed = await resume(
                run_id,
                store=site.store,
                manifest=site.manifest,
                dispatcher=site.dispatcher,
                budget=budget,
                # An embedded server ends after its last worker, so nobody's lease outlives it.
                merciful=left_s > 0 and not self._here.settings.embedded,
            )
            self._say(f"run {run_id}: {plural(resumed.left, 'trial')} left")
            if not detach or resumed.left == 0:
                return await self._follow(site, run_id, stop, command)
            self._servers.leave_worker()
            if self._telling.as_json:
                print_json(
                    {
                        "schema": f"salvo.cli.{command}/1",
                        "run_id": run_id,
                        "state": resumed.state,
                        "left": resumed.left,
                    }
                )
            else:
                console().print(plain(run_id), soft_wrap=True)
            return exits.OK

    async def _follow(self, site: Site, run_id: str, stop: asyncio.Event, command: str) -> int:
        embedded = self._servers.worker is not None
        # A quarter of a second of imports, while there is nothing to do but wait.
        threading.Thread(target=import_statistics, daemon=True).start()
        follower = Follower(
            site,
            run_id,
            screen=self._screen,
            labels=await cell_labels(site, run_id),
            note="Ctrl-C pauses it" if embedded else "Ctrl-C stops watching; the run goes on",
            look_after=self._servers.worker.ensure if self._servers.worker else None,
        )
        counts = await follower.until_sealed(stop)
        if counts is not None and counts.state == "paused" and counts.paused_by:
            return await self._held_up(site, counts)
        if counts is None or counts.state == "paused":
            return await self._interrupted(site, run_id)
        return await self._report(site, counts, command)

    async def _report(self, site: Site, counts: RunCounts, command: str) -> int:
        if self._servers.worker is not None:
            self._servers.worker.tell_to_stop()  # it leaves while the report is made
        summary = await site.observer.summary(counts.run_id)
        code = summary.exit_code_allow_infra if self._allow_infra else summary.exit_code
        await tell(site, summary, code, command, self._telling)
        return code

    async def _held_up(self, site: Site, counts: RunCounts) -> int:
        """Say what has to be mended before the run can go on; the agents are not to blame for it."""
        if self._servers.worker is not None:
            await asyncio.to_thread(self._servers.worker.stop)
            counts = await site.observer.status(counts.run_id)
        message = (
            f"run {counts.run_id} is paused, {counts.ended:,} of {plural(counts.total, 'trial')} ended: "
        )
        message += counts.paused_by
        hint = f"`salvo resume {short(counts.run_id)}` goes on with the turns that were paid for"
        code = exits.INFRA_ERROR
        if self._telling.as_json:
            print_json(exits.error_document("paused", message, hint, code, run_id=counts.run_id))
        screen = self._screen or console(stderr=True)
        screen.print(plain(message), soft_wrap=True)
        screen.print(plain("hint: ", "bold") + plain(hint), soft_wrap=True)
        return code

    async def _interrupted(self, site: Site, run_id: str) -> int:
        """Say what becomes of the run; with a worker of ours, pause it and drain first."""
        ref = short(run_id)
        if self._servers.worker is None:
            message = f"stopped watching; run {run_id} goes on"
            hint = f"salvo status {ref} --watch · salvo wait {ref} · salvo cancel {ref}"
        else:
            message, hint = await self._drain(site, run_id, self._servers.worker)
        if self._telling.as_json:
            print_json(exits.error_document("interrupted", message, hint, exits.INTERRUPTED, run_id=run_id))
        screen = self._screen or console(stderr=True)
        screen.print(plain(message), soft_wrap=True)
        screen.print(plain("hint: ", "bold") + plain(hint), soft_wrap=True)
        return exits.INTERRUPTED

    async def _drain(self, site: Site, run_id: str, worker: ChildWorker) -> tuple[str, str]:
        """Pause the run, let the worker give back what it holds; return what to say of it, and the hint."""
        from salvo_core.pause import pause
        from salvo_core.seal import seal

        ref = short(run_id)
        await pause(run_id, store=site.store, manifest=site.manifest, signer=site.dispatcher.signer)
        self._say("pausing: trials under way are given back after their turn (Ctrl-C again leaves at once)")
        drained = await asyncio.to_thread(worker.stop)
        # If the last trial ended meanwhile, its worker may have left before it sealed the run.
        await seal(run_id, store=site.store, manifest=site.manifest)
        counts = await site.observer.status(run_id)
        ended = f"{counts.ended:,} of {plural(counts.total, 'trial')} ended and are kept"
        if counts.state == "sealed":
            return f"run {run_id} has ended: {ended}", f"salvo report {ref}"
        message = f"{counts.state} run {run_id}: {ended}"
        if not drained:
            message += "; the worker is still ending its turns and leaves by itself"
        return message, f"`salvo resume {ref}` goes on · `salvo cancel {ref}` ends it"

    def _say(self, text: str) -> None:
        if self._screen is not None:
            self._screen.print(plain(text, "dim"), soft_wrap=True)
