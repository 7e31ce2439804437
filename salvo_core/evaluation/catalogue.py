"""Every assertion type, and the one union that a scenario's list is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.limits import CostLimit, LatencyLimit
from salvo_core.evaluation.output import OutputContains
from salvo_core.evaluation.query import JmespathQuery
from salvo_core.evaluation.tools import ToolCalled, ToolSequence

Assertion = Annotated[
    OutputContains | ToolCalled | ToolSequence | JmespathQuery | CostLimit | LatencyLimit,
    Field(discriminator="type"),
]
"""Any assertion, told apart by its ``type``."""

ASSERTION_TYPES: Mapping[str, type[AssertionSpec]] = {
    "output_contains": OutputContains,
    "tool_called": ToolCalled,
    "tool_sequence": ToolSequence,
    "jmespath": JmespathQuery,
    "cost_limit": CostLimit,
    "latency_limit": LatencyLimit,
}
"""The class of each ``type``."""

_ADAPTER: TypeAdapter[Assertion] = TypeAdapter(Assertion)


def parse(raw: Mapping[str, Any]) -> Assertion:
    """Return the assertion that a mapping in canonical form (``shorthand.canonical``) describes.

    Raises:
        pydantic.ValidationError: Unknown type or key, a parameter missing or out of range.
    """
    return _ADAPTER.validate_python(raw)
