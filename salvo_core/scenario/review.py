"""What is probably a mistake in a scenario that is valid: warnings, shown before money is spent."""

from __future__ import annotations

from collections.abc import Iterator

from salvo_core.evaluation.tools import ToolCalled, ToolSequence
from salvo_core.scenario.checking import locate
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.positions import Place, Positions
from salvo_core.scenario.problems import Problem
from salvo_core.scenario.spelling import did_you_mean


def warnings(scenario: Scenario, positions: Positions, file: str) -> list[Problem]:
    """Return what the scenario's author should look at once more, located.

    Args:
        scenario: A valid one.
        positions: Of the file it came from.
        file: As shown to people.
    """
    return [
        locate(code, message, path, positions, file, hint=hint, severity="warning")
        for code, message, path, hint in (*_tools(scenario), *_assertions(scenario), *_script(scenario))
    ]


_Remark = tuple[str, str, Place, str]


def _tools(scenario: Scenario) -> Iterator[_Remark]:
    for place, tool in enumerate(scenario.tools):
        if not tool.has_mock:
            yield (
                "W001",
                f"{tool.name} has neither mock_response nor mocks: an agent that calls it gets a tool error",
                ("tools", place, "name"),
                "give it an answer",
            )


def _assertions(scenario: Scenario) -> Iterator[_Remark]:
    tools = [tool.name for tool in scenario.tools]
    for place, assertion in enumerate(scenario.assertions):
        path: Place = ("assertions", place)
        for said in assertion.warnings():
            yield "W002", said, path, ""
        named: list[tuple[str, Place]] = []
        if isinstance(assertion, ToolCalled):
            named = [(assertion.tool, (*path, "tool"))]
        elif isinstance(assertion, ToolSequence):
            named = [(name, (*path, "sequence", n)) for n, name in enumerate(assertion.sequence)]
        for name, where in named:
            if name not in tools:
                yield "W003", f"the scenario defines no tool {name[:64]!r}", where, did_you_mean(name, tools)
    if scenario.assertions and not any(assertion.weight for assertion in scenario.assertions):
        yield (
            "W004",
            "every weight is 0, so each trial scores 0 and fails",
            ("assertions",),
            "give at least one assertion a weight",
        )


def _script(scenario: Scenario) -> Iterator[_Remark]:
    if scenario.script is not None and scenario.adapter != "scripted":
        yield (
            "W006",
            f"only the adapter scripted follows a script; this scenario asks {scenario.adapter[:64]}",
            ("script",),
            "",
        )
