"""The books of runs that have a budget: one method per question, one script each (``budget``)."""

from __future__ import annotations

from typing import Any, Literal, cast

from salvo_core.manifest import keys
from salvo_core.manifest.budget import Budget, nano_usd
from salvo_core.manifest.claims import Claim, Committed
from salvo_core.manifest.connection import translated
from salvo_core.manifest.live import KEPT_AFTER_SEAL_MS, ROWS_PER_CALL, Manifest
from salvo_core.manifest.releases import released
from salvo_core.manifest.scripts import script_text

_SCRIPTS = ("skip", "open_budget", "reserve", "settle", "settle_lost", "raise_budget", "unskip")

Granted = Literal["granted", "wait", "spent", "lost"]


class Ledger:
    """Keeps runs within their budgets.

    Args:
        manifest: Where the books are.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._redis = manifest.redis
        self._address = manifest.address
        self._scripts = {name: self._redis.register_script(script_text(name)) for name in _SCRIPTS}

    async def open(self, run_id: str, budget: Budget, *, reeval: bool = False) -> None:
        """Set a run's limits unless they are set; a budget that was raised stays raised.

        Books that are new begin with what trials cost that have ended: of a run that Redis lost, say.
        Those of a run that was sealed do not expire any more.

        Args:
            run_id: The run.
            budget: Its limits.
            reeval: Whether it scores recorded conversations again, and only its judges are paid.
        """
        await self._run("open_budget", run_id, *_limits(budget), int(reeval))

    async def reserve(
        self, claim: Claim, budget: Budget, name: str, cost_usd: float, tokens: int, *, first: bool = False
    ) -> Granted:
        """Set aside what an exchange costs at worst.

        Args:
            claim: Only the attempt that holds the trial is heard.
            budget: The plan's.
            name: Of the exchange: ``Ledger.name``. Asking twice under one name sets aside once.
            cost_usd: At worst.
            tokens: At worst.
            first: Whether the trial has said nothing yet: those that have go before it.

        Returns:
            ``wait`` when it would fit but for what is set aside for others; ``spent`` when not even then, and
            no trial of the run begins any more.
        """
        return cast(
            Granted,
            await self._run(
                "reserve", claim.run_id, claim.index, claim.attempt, claim.worker,
                name, nano_usd(cost_usd, up=True), tokens, *_limits(budget), int(first),
            ),
        )  # fmt: skip

    async def settle(self, run_id: str, name: str, billed: tuple[float, int] | None = None) -> bool | None:
        """Book what an exchange came to; False if it was booked before, None if nobody knows of it now.

        What nobody knows of was booked by a sweep, or Redis lost its memory: then it is known again once the
        trial is held again (``Repairs.reseat``).

        Args:
            run_id: The run.
            name: As it was reserved.
            billed: US dollars and tokens; None books all that was set aside.
        """
        amounts = () if billed is None else (nano_usd(billed[0]), billed[1])
        settled = int(await self._run("settle", run_id, name, *amounts))
        return None if settled < 0 else bool(settled)

    async def settle_lost(self, run_id: str) -> int:
        """Book, at their worst, reservations of attempts that are over; return how many."""
        return int(await self._run("settle_lost", run_id))

    async def skip(self, claim: Claim) -> Committed:
        """End a trial that the budget kept from saying anything, if the claim still holds it."""
        reply = await self._run("skip", claim.run_id, claim.index, claim.attempt, claim.worker, "budget")
        if not reply[0]:
            return Committed(won=False)
        _, is_last, *moved = reply
        return Committed(won=True, run_finished=bool(is_last), release=released(*moved))

    async def close(self, run_id: str) -> None:
        """Let the books of a sealed run expire when its rows do."""
        with translated(self._address):
            await self._redis.pexpire(keys.budget(run_id)[0], KEPT_AFTER_SEAL_MS)

    async def raise_to(self, run_id: str, budget: Budget, total: int) -> bool:
        """Raise a run's limits and let trials wait again that were skipped for want of money.

        Trials that were stopped in the middle of their conversation stay as they ended.

        Args:
            run_id: The run; it may be sealed, and is not any more if a trial waits again.
            budget: The new limits; None leaves one as it is.
            total: Trials of the run.

        Returns:
            False when no limit of the run was lower.
        """
        raised = bool(await self._run("raise_budget", run_id, *_limits(budget)))
        # Also when it was raised before: whoever did may have died before this line.
        for start in range(0, total, ROWS_PER_CALL):
            await self._run("unskip", run_id, start, min(start + ROWS_PER_CALL, total))
        return raised

    async def _run(self, name: str, run_id: str, *arguments: Any) -> Any:
        with translated(self._address):
            return await self._scripts[name](
                keys=[*keys.scripted(run_id), *keys.budget(run_id), *keys.behind(run_id)],
                args=list(arguments),
            )

    @staticmethod
    def name(claim: Claim, number: int, whose: str) -> str:
        """Return what an exchange is called: unique among all that were ever sent for the run.

        Args:
            claim: Of its attempt.
            number: Of the exchange within the attempt.
            whose: ``agent`` or ``judge``.
        """
        return f"{claim.index}:{claim.attempt}:{number}:{whose}"


def _limits(budget: Budget) -> tuple[int | str, int | str]:
    usd = "" if budget.usd_max is None else nano_usd(budget.usd_max)
    return usd, "" if budget.tokens_max is None else budget.tokens_max
