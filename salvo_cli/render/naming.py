"""What to call the cells of a run: what all of them share is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from salvo_cli.render.console import one_line

NAME_LENGTH_MAX = 60


class Named(Protocol):
    """A cell as any document has it."""

    @property
    def scenario_name(self) -> str: ...  # noqa: D102
    @property
    def model(self) -> str: ...  # noqa: D102


def cell_names(cells: Sequence[Named]) -> list[str]:
    """Return a name for each cell, in their order: its scenario, its model, or both.

    Args:
        cells: All of the run, also those that are not shown: the names are to tell them apart.
    """
    scenarios = [one_line(cell.scenario_name, NAME_LENGTH_MAX) for cell in cells]
    models = [one_line(cell.model, NAME_LENGTH_MAX) for cell in cells]
    if len(set(scenarios)) == len(cells):
        return scenarios
    if len(set(scenarios)) == 1 and len(set(models)) == len(cells):
        return models
    return [f"{scenario} · {model}" for scenario, model in zip(scenarios, models, strict=True)]
