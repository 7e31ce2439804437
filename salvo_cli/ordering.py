"""From a command line to an order: what ``run`` and ``submit`` have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salvo_cli.deciding import Deciding
from salvo_cli.options import pairs, priority, recording_mode
from salvo_cli.wiring import Surroundings, open_adapters
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from salvo_core.manifest.budget import Budget
    from salvo_core.submit import Order


@dataclass(frozen=True)
class Asked:
    """What a person typed after ``run`` or ``submit``."""

    paths: Sequence[Path] = ()
    """Empty: the project's scenarios folder."""
    trials: int = 3
    models: Sequence[str] = ()
    concurrency_max: int | None = None
    threshold: float | None = None
    tags: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    idempotency_key: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    allow_unpriced: bool = False
    deciding: Deciding = field(default_factory=Deciding)
    recording: str | None = None
    priority: str | None = None

    def order(self, here: Surroundings) -> Order:
        """Return the order, its scenarios loaded and valid.

        Raises:
            ScenarioInvalid: Any file is invalid; every problem of every file.
            UsageError: Nothing to run, or an option that cannot be meant.
        """
        # pydantic and YAML: the embedded servers come up while they are imported.
        from salvo_core.scenario.commit import commit_of
        from salvo_core.scenario.loading import load_paths
        from salvo_core.submit import Order

        mode = recording_mode(self.recording)
        preferred = priority(self.priority)
        labels, tags = pairs(self.labels, "--label"), pairs(self.tags, "--tag")
        # Every scenario gets the models of the command line, so one without a model is complete.
        default_model = self.models[0] if self.models else None
        loaded = load_paths(
            here.scenario_paths(self.paths), project=here.project, tags=tags, default_model=default_model
        )
        project = here.project
        if "commit" not in labels and (commit := commit_of(here.root)):
            labels = {**labels, "commit": commit}
        return Order(
            scenarios=loaded,
            models=tuple(self.models),
            trials=self.trials,
            threshold=self.threshold,
            concurrency_max=self.concurrency_max,
            labels=labels,
            idempotency_key=self.idempotency_key,
            recording=project.recorded.model_copy(update={"mode": mode} if mode else {}),
            judge=project.judge,
            secrets=open_adapters(here).known_secrets(),
            **self.deciding.fields,
            budget=budget_of(self.budget_usd, self.budget_tokens, allow_unpriced=self.allow_unpriced),
            priority=preferred,
        )

    def all_exist(self, here: Surroundings) -> bool:
        """Tell whether every path is there: whether it is worth starting servers before looking closer."""
        return all(path.exists() for path in here.scenario_paths(self.paths))


def budget_of(usd: float | None, tokens: int | None, *, allow_unpriced: bool) -> Budget | None:
    """Return the budget that options come to, None where none of them is given.

    Raises:
        UsageError: ``--allow-unpriced`` without a budget.
    """
    from salvo_core.manifest.budget import Budget

    if usd is None and tokens is None:
        if allow_unpriced:
            raise UsageError("--allow-unpriced is about a budget, and there is none", hint="add --budget-usd")
        return None
    return Budget(usd_max=usd, tokens_max=tokens, allow_unpriced=allow_unpriced)


def print_warnings(screen: Console, here: Surroundings, order: Order) -> None:
    """Print what is odd about the project and the scenarios, though valid."""
    from salvo_cli.render.problems import print_problems
    from salvo_core.scenario.project import FILE_NAME, find_root

    for folder in sorted({find_root(Path(one.file)) for one in order.scenarios} - {here.root}):
        if (folder / FILE_NAME).exists():
            screen.print(
                f"note: {folder / FILE_NAME} is not read: the project is {here.root}, where this was called",
                markup=False,
                soft_wrap=True,
            )
    if order.early_stop and order.concurrency_max is None:
        screen.print(
            "note: without -j trials begin as fast as workers take them, "
            "and --early-stop skips only those that have not begun",
            markup=False,
            soft_wrap=True,
        )
    odd = [problem for one in order.scenarios for problem in one.problems]
    if order.recording.mode == "metadata_only":
        # What a warning quotes is content, and a terminal is often a log that is kept.
        odd = [replace(problem, message=problem.title, hint="", source="") for problem in odd]
    if found := [*here.project.problems, *odd]:
        patterns = here.project.recording.custom_redaction_patterns
        print_problems(screen, found, ci=here.settings.ci_mode, patterns=patterns)
        screen.print()


PRICES_HINT = "add it under `prices:` in salvo.yaml, or give --allow-unpriced or --budget-tokens instead"


def require_prices(here: Surroundings, order: Order, hint: str = PRICES_HINT) -> None:
    """Refuse a budget that nobody could keep, before anything is sent; see ``require_bounds``."""
    if order.budget is None or order.budget.allow_unpriced:
        return
    from datetime import UTC, datetime

    from salvo_core.submit import judge_terms, make_plan

    plan = make_plan(order, now=datetime.now(UTC))
    scenarios = {loaded.digest: loaded.scenario for loaded in order.scenarios}
    asked = {(cell.adapter, cell.model) for cell in plan.cells} | {
        (terms.adapter, terms.model)
        for cell in plan.cells
        for terms in judge_terms(scenarios[cell.scenario_digest], plan)
    }
    require_bounds(here, order.budget, asked, hint)


def require_bounds(
    here: Surroundings, budget: Budget | None, asked: Iterable[tuple[str, str]], hint: str = PRICES_HINT
) -> None:
    """Refuse a budget that nobody could keep.

    Workers ask their own profiles and price lists again: theirs count.

    Args:
        here: Whose profiles and prices.
        budget: None can be kept.
        asked: (adapter, model) of all that may be asked.
        hint: What to do about a price that is not known.

    Raises:
        UsageError: What one exchange takes at most, or costs, is not known.
    """
    if budget is None or budget.allow_unpriced:
        return
    from salvo_core.manifest.budget import BOUND_HINT, lack_of_bound

    pricing = _Pricing(here)
    declared = {adapter: pricing.registry.declared(adapter) for adapter, _ in asked}
    for adapter in sorted(declared):
        if lack := lack_of_bound(budget, adapter, declared[adapter]):
            raise UsageError(f"the budget cannot be kept: {lack}", hint=BOUND_HINT)
    if budget.usd_max is None:
        return
    unpriced = sorted(
        {
            model
            for adapter, model in asked
            if declared[adapter] is None and not pricing.listed(adapter, model)
        }
    )
    if unpriced:
        raise UsageError(
            f"--budget-usd cannot be kept: the price of {', '.join(map(repr, unpriced[:5]))} is not known",
            hint=hint,
        )


def print_single_votes(screen: Console, order: Order) -> None:
    """Print which judges are asked only once: with a single vote, nothing evens out a judge's bad day."""
    from salvo_core.evaluation.judge.panel import unrepeated
    from salvo_core.run.withholding import cell_of

    for one in order.scenarios:
        single = unrepeated(one.scenario.assertions, order.judge)
        labels = cell_of(one, order.recording.mode, order.redactor).assertions if single else ()
        for place, _ in single:
            screen.print(
                f"note: {one.file}: assertions.{place}, {labels[place]}: majority voting is off, k is 1",
                markup=False,
                soft_wrap=True,
            )


def forecast(here: Surroundings, order: Order) -> dict[str, Any]:
    """Return what an order would run and how many provider calls it makes at most; nothing is sent.

    Prices are looked up where they are known; a bound on the cost is given only where the
    scenario itself bounds it, because nobody knows how many tokens a model will use.
    """
    from datetime import UTC, datetime

    from salvo_core.foresee import POWER, RATE_ASSUMED
    from salvo_core.stats.contrast import detectable_drop
    from salvo_core.submit import calls_max, judge_calls_max, judge_terms, make_plan

    plan = make_plan(order, now=datetime.now(UTC))
    scenarios = {loaded.digest: loaded.scenario for loaded in order.scenarios}
    pricing = _Pricing(here)
    cells = []
    for cell in plan.cells:
        scenario = scenarios[cell.scenario_digest]
        limit = scenario.max_cost_usd
        one = plan.model_copy(update={"cells": (cell,)})
        cells.append(
            {
                "scenario": cell.scenario_name,
                "file": cell.scenario_file,
                "model": cell.model,
                "adapter": cell.adapter,
                "threshold": cell.threshold,
                "gate": None if cell.gate is None else cell.gate.model_dump(mode="json"),
                "trials": plan.trials,
                "calls_max": calls_max(one, scenarios, pricing.retries_max),
                "judge_calls_max": judge_calls_max(one, scenarios, pricing.retries_max),
                "judges": [
                    {
                        "model": terms.model,
                        "adapter": terms.adapter,
                        "votes": terms.k,
                        "price_known": pricing.known(terms.adapter, terms.model),
                    }
                    for terms in judge_terms(scenario, plan)
                ],
                "price_known": pricing.known(cell.adapter, cell.model),
                "tokens_max": None if scenario.max_tokens is None else scenario.max_tokens * plan.trials,
                "cost_usd_max": None if limit is None else limit * plan.trials,
            }
        )
    limits = [cell["cost_usd_max"] for cell in cells]
    return {
        "cells": cells,
        "trials": plan.total,
        "calls_max": sum(cell["calls_max"] for cell in cells),
        "judge_calls_max": sum(cell["judge_calls_max"] for cell in cells),
        "cost_usd_max": None if None in limits else sum(limits),
        "detects": detectable_drop(plan.trials, plan.trials, RATE_ASSUMED, power=POWER),
        "concurrency_max": order.concurrency_max,
        "early_stop": order.early_stop,
        "stop_rule": None if order.sequential is None else order.sequential.model_dump(mode="json"),
    }


class _Pricing:
    """What the project says of prices and retries."""

    def __init__(self, here: Surroundings) -> None:
        from salvo_core.trace.model import Usage

        self.registry = open_adapters(here)
        self._one_token = Usage(input_tokens=1, output_tokens=1)

    def retries_max(self, adapter: str) -> int:
        """Return how often one turn of an adapter is tried again at most."""
        return self.registry.backoff_for(adapter).retries_max

    def known(self, adapter: str, model: str) -> bool:
        """Tell whether a model's price is known."""
        return adapter != "scripted" and self.listed(adapter, model)

    def listed(self, adapter: str, model: str) -> bool:
        """Tell whether exchanges can be counted in US dollars, whoever answers."""
        return self.registry.price_usd(adapter, model, self._one_token) is not None
