"""What figures need to know of a scenario's assertions: what to call them, and how much they count."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salvo_core.errors import ObjectCorrupt, ObjectMissing
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Cell, Plan

if TYPE_CHECKING:
    from salvo_core.evaluation.assertion import AssertionSpec
    from salvo_core.scenario.snapshot import ExcludedAssertion, Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AssertionFacts:
    """What ranking needs to know of an assertion.

    Attributes:
        label: In a few words, the same for every trial.
        weight: Dimensionless, >= 0.
        required: Whether failing it fails the trial hard.
        judge_models: Who judges it: the model of each judge in it, in order; empty for other assertions.
    """

    label: str
    weight: float = 1.0
    required: bool = False
    judge_models: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        assertion: AssertionSpec | ExcludedAssertion,
        defaults: JudgeDefaults | None = None,
        label: str | None = None,
    ) -> AssertionFacts:
        """Return the facts of an assertion of a scenario, or of what a snapshot has left of it.

        Args:
            assertion: The assertion.
            defaults: Its run's, for judges.
            label: What its run's plan calls it.
        """
        # With it comes every assertion there is: whoever reads a summary needs none.
        from salvo_core.scenario.snapshot import judge_models

        models = judge_models(assertion)
        label = assertion.label() if label is None else label
        return cls(
            label=label,
            weight=assertion.weight,
            required=assertion.required,
            judge_models=tuple(model or (defaults or JudgeDefaults()).model for model in models),
        )


async def assertion_facts(plan: Plan, orders: Orders) -> dict[int, tuple[AssertionFacts, ...]]:
    """Return, per cell, what ranking failures needs to know of its assertions.

    A cell whose scenario is gone or damaged is left out.
    """
    facts: dict[int, tuple[AssertionFacts, ...]] = {}
    for number, cell in enumerate(plan.cells):
        try:
            snapshot = await orders.snapshot(plan, cell)
        except (ObjectMissing, ObjectCorrupt) as error:
            # Its trials said so already. The labels in the plan must do: a run that is over can be sealed.
            logger.warning(
                "failures of scenario %s are ranked with equal weights: %s", cell.scenario_digest[:12], error
            )
            continue
        facts[number] = facts_of(cell, snapshot, plan.judge)
    return facts


def facts_of(cell: Cell, snapshot: Snapshot, defaults: JudgeDefaults) -> tuple[AssertionFacts, ...]:
    """Return what ranking failures needs to know of one cell's assertions, as far as records keep it."""
    # The plan's labels, because a snapshot may have lost the words that they are made of.
    labels = cell.assertions or (None,) * len(snapshot.assertions)
    return tuple(
        AssertionFacts.of(one, defaults, label)
        for label, one in zip(labels, snapshot.assertions, strict=False)
    )
