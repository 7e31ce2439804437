"""What an order would take, by past runs: what ``plan`` and ``run --dry-run`` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salvo_cli.wiring import Surroundings, open_only_the_store

if TYPE_CHECKING:
    from salvo_core.foresee import Foreseen
    from salvo_core.run.plan import Plan
    from salvo_core.submit import Order


async def look_ahead(
    here: Surroundings, order: Order, *, detect: float | None = None
) -> tuple[Plan, list[Foreseen]]:
    """Return the plan that an order would make, and what each of its cells will take; nothing is written.

    Args:
        here: Whose store.
        order: Not submitted.
        detect: As in ``foresee``.

    Raises:
        StoreUnavailable, StoreRefused: Past runs cannot be read.
        UsageError: The store's address cannot be used.
    """
    from datetime import UTC, datetime

    from salvo_core.foresee import foresee
    from salvo_core.submit import make_plan

    made = make_plan(order, now=datetime.now(UTC))
    async with open_only_the_store(here) as store:
        return made, await foresee(made, store, detect=detect)
