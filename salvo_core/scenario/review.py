"""What is probably a mistake in a scenario that is valid: warnings, shown before money is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from salvo_core.evaluation.arguments import ToolArgs
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.tools import ToolCalled, ToolSequence
from salvo_core.scenario.checking import locate
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.positions import Place, Positions
from salvo_core.scenario.problems import Problem
from salvo_core.scenario.spelling import did_you_mean, unknown_adapter


def warnings(
    scenario: Scenario,
    positions: Positions,
    file: str,
    *,
    adapters: Sequence[str],
    as_written: Callable[[Place], Place] = lambda path: path,
) -> list[Problem]:
    """Return what the scenario's author should look at once more, located.

    Args:
        scenario: A valid one.
        positions: Of the file it came from.
        file: As shown to people.
        adapters: Names the project knows, those of classes apart.
        as_written: Path in the scenario to the path in the file, where normalising moved things.
    """
    return [
        locate(code, message, as_written(path), positions, file, hint=hint, severity="warning")
        for code, message, path, hint in (
            *_adapter(scenario, adapters),
            *_tools(scenario),
            *_assertions(scenario, adapters),
            *_script(scenario),
        )
    ]


_Remark = tuple[str, str, Place, str]


def _adapter(scenario: Scenario, known: Sequence[str]) -> Iterator[_Remark]:
    if (said := unknown_adapter(scenario.adapter, known)) is not None:
        yield "W009", f"{said} cannot run this", ("adapter",), did_you_mean(scenario.adapter, known)


def _tools(scenario: Scenario) -> Iterator[_Remark]:
    for place, tool in enumerate(scenario.tools):
        if not tool.has_mock:
            yield (
                "W001",
                f"{tool.name} has neither mock_response nor mocks: an agent that calls it gets a tool error",
                ("tools", place, "name"),
                "give it an answer",
            )


def _assertions(scenario: Scenario, adapters: Sequence[str]) -> Iterator[_Remark]:
    tools = [tool.name for tool in scenario.tools]
    for place, assertion in enumerate(scenario.assertions):
        yield from _assertion(assertion, ("assertions", place), tools, adapters)
    if scenario.assertions and not any(assertion.weight for assertion in scenario.assertions):
        yield (
            "W004",
            "every weight is 0, so each trial scores 0 and fails",
            ("assertions",),
            "give at least one assertion a weight",
        )


def _assertion(
    assertion: AssertionSpec, path: Place, tools: list[str], adapters: Sequence[str]
) -> Iterator[_Remark]:
    """Yield the remarks on one assertion and on those inside it."""
    for said in assertion.warnings():
        yield "W002", said, path, ""
    for name, where in _tools_named(assertion):
        if name not in tools:
            hint = did_you_mean(name, tools)
            yield "W003", f"the scenario defines no tool {name[:64]!r}", (*path, *where), hint
    if isinstance(assertion, Judge) and assertion.judge_adapter is not None:
        name = assertion.judge_adapter
        if (unknown := unknown_adapter(name, adapters)) is not None:
            yield (
                "W009",
                f"{unknown} cannot ask this judge",
                (*path, "judge_adapter"),
                did_you_mean(name, adapters),
            )
    for where, member in assertion.members():
        yield from _assertion(member, (*path, *where), tools, adapters)


def _tools_named(assertion: AssertionSpec) -> list[tuple[str, Place]]:
    if isinstance(assertion, ToolCalled | ToolArgs):
        return [(assertion.tool, ("tool",))]
    if isinstance(assertion, ToolSequence):
        return [(name, ("sequence", place)) for place, name in enumerate(assertion.sequence)]
    return []


def _script(scenario: Scenario) -> Iterator[_Remark]:
    if scenario.script is not None and scenario.adapter != "scripted":
        yield (
            "W006",
            f"only the adapter scripted follows a script; this scenario asks {scenario.adapter[:64]}",
            ("script",),
            "",
        )
