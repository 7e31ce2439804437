"""Which cells of two runs are compared, and what keeps them from being comparable."""

from __future__ import annotations

from salvo_core.run.plan import Cell, Plan


def pairs_of(now: Plan, before: Plan) -> list[tuple[int, int]]:
    """Return the places of the cells that are compared: (candidate's, baseline's).

    Cells are the same by scenario and model. What is then left of a scenario is paired across models
    where either run has one cell of it: that is how two models are compared.
    """
    found: list[tuple[int, int]] = []
    left_now, left_before = dict(enumerate(now.cells)), dict(enumerate(before.cells))
    for named in (_with_its_file, _by_name):
        for place, cell in list(left_now.items()):
            same = [other for other, that in left_before.items() if named(that) == named(cell)]
            if len(same) == 1:
                found.append((place, same[0]))
                del left_now[place], left_before[same[0]]
    for place, cell in list(left_now.items()):
        siblings = [other for other, that in left_now.items() if that.scenario_name == cell.scenario_name]
        same = [other for other, that in left_before.items() if that.scenario_name == cell.scenario_name]
        if len(siblings) == len(same) == 1:
            found.append((place, same[0]))
            del left_now[place], left_before[same[0]]
    return sorted(found)


def _with_its_file(cell: Cell) -> tuple[str, ...]:
    return cell.scenario_name, cell.scenario_file, cell.model


def _by_name(cell: Cell) -> tuple[str, ...]:
    return cell.scenario_name, cell.model


def unlike(now: Plan, before: Plan) -> list[str]:
    """Return, for people, what keeps paired cells from being comparable; empty where nothing does."""
    told = []
    for place, place_before in pairs_of(now, before):
        cell, that = now.cells[place], before.cells[place_before]
        if cell.scenario_digest == that.scenario_digest and cell.threshold == that.threshold:
            continue
        if cell.scenario_digest == that.scenario_digest:
            what = f"the threshold is {cell.threshold:g} and was {that.threshold:g}"
        elif cell.agent_digest and cell.agent_digest == that.agent_digest:
            gone = [label for label in that.assertions if label not in cell.assertions]
            new = [label for label in cell.assertions if label not in that.assertions]
            changes = [*(f"without {label!r}" for label in gone), *(f"with {label!r}" for label in new)]
            what = "it is graded otherwise" + (f": {', '.join(changes)}" if changes else "")
        else:
            what = "the agent is asked something else"
        told.append(f"{cell.label}: {what}")
    return told
