"""Assertions on which tools the agent called, and in which order. Arguments do not matter here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import one_line, quoted


class ToolCalled(AssertionSpec):
    """The agent called a tool at least once."""

    type: Literal["tool_called"]
    tool: str = Field(min_length=1)
    """The tool's name, compared as it stands: any character is allowed in it."""

    def label(self) -> str:
        """Return for example ``tool_called issue_refund``."""
        return one_line(f"tool_called {self.tool}", LABEL_CHARS_MAX)

    def needs_content(self) -> bool:
        """Return False: tools' names are kept by every recording."""
        return False

    def check(self, document: Document) -> Check:
        """Pass if any call has that name."""
        times = document.tool_names.count(self.tool)
        if times:
            return Check.of(True, f"{quoted(self.tool)} was called, calls: {times}")
        return Check.of(False, f"{quoted(self.tool)} was not called; {_calls(document.tool_names)}")


class ToolSequence(AssertionSpec):
    """The agent called these tools, in the sense of the mode."""

    type: Literal["tool_sequence"]
    mode: Literal["exact", "in_order", "any_order"] = "exact"
    """``exact``: these calls and no others, in this order. ``in_order``: in this order, others may
    come between. ``any_order``: each at least as often as listed, others may come.

    The default is the strictest, so that leaving it out never hides a call too many or too few.
    """
    sequence: tuple[str, ...]
    """Tool names. An empty list: ``exact`` passes only without calls, the other modes always pass."""

    def label(self) -> str:
        """Return for example ``tool_sequence in_order [lookup_order, issue_refund]``."""
        return one_line(f"tool_sequence {self.mode} [{', '.join(self.sequence)}]", LABEL_CHARS_MAX)

    def needs_content(self) -> bool:
        """Return False: tools' names are kept by every recording."""
        return False

    def check(self, document: Document) -> Check:
        """Compare the names of the calls with the sequence."""
        expected, actual = self.sequence, document.tool_names
        if expected and not actual:
            return Check.of(False, f"no tool calls, expected {quoted(list(expected))}")
        problem = _PROBLEM[self.mode](expected, actual)
        return Check.of(problem is None, problem or _calls(actual))


def _calls(actual: Sequence[str]) -> str:
    return f"the agent called {quoted(list(actual))}" if actual else "no tool calls"


def _not_exact(expected: Sequence[str], actual: Sequence[str]) -> str | None:
    for index, (wanted, got) in enumerate(zip(expected, actual, strict=False)):
        if wanted != got:
            return f"call {index}: expected {quoted(wanted)}, got {quoted(got)}; {_calls(actual)}"
    if len(actual) < len(expected):
        missing = list(expected[len(actual) :])
        return f"too few calls, {len(actual)} of {len(expected)}; missing {quoted(missing)}"
    if len(actual) > len(expected):
        extra = list(actual[len(expected) :])
        return f"too many calls, {len(actual)} instead of {len(expected)}; extra {quoted(extra)}"
    return None


def _not_in_order(expected: Sequence[str], actual: Sequence[str]) -> str | None:
    calls = iter(actual)
    for index, wanted in enumerate(expected):
        if wanted not in calls:  # "in" moves the iterator past the match
            found = quoted(list(expected[:index])) if index else "nothing"
            return f"found {found} in order, then not {quoted(wanted)} (item {index}); {_calls(actual)}"
    return None


def _not_in_any_order(expected: Sequence[str], actual: Sequence[str]) -> str | None:
    called = Counter(actual)
    lacking = [
        f"{quoted(name)} expected {times}, called {called[name]}"
        for name, times in Counter(expected).items()
        if called[name] < times
    ]
    return f"missing calls: {'; '.join(lacking)}" if lacking else None


_PROBLEM = {"exact": _not_exact, "in_order": _not_in_order, "any_order": _not_in_any_order}
