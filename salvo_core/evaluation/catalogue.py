"""Every assertion type, and the one union that a scenario's list is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from salvo_core.evaluation.arguments import ToolArgs
from salvo_core.evaluation.assertion import AssertionSpec
from salvo_core.evaluation.custom import Custom
from salvo_core.evaluation.groups import AllOf, AnyOf, Not
from salvo_core.evaluation.judge.assertion import Judge
from salvo_core.evaluation.limits import CostLimit, LatencyLimit
from salvo_core.evaluation.output import OutputContains, OutputFitsSchema
from salvo_core.evaluation.query import JmespathQuery
from salvo_core.evaluation.tools import ToolCalled, ToolSequence

Assertion = Annotated[
    OutputContains
    | OutputFitsSchema
    | ToolCalled
    | ToolSequence
    | ToolArgs
    | JmespathQuery
    | CostLimit
    | LatencyLimit
    | Judge
    | Custom
    | Not
    | AnyOf
    | AllOf,
    Field(discriminator="type"),
]
"""Any assertion, told apart by its ``type``."""

ASSERTION_TYPES: Mapping[str, type[AssertionSpec]] = {
    "output_contains": OutputContains,
    "json_schema": OutputFitsSchema,
    "tool_called": ToolCalled,
    "tool_sequence": ToolSequence,
    "tool_args": ToolArgs,
    "jmespath": JmespathQuery,
    "cost_limit": CostLimit,
    "latency_limit": LatencyLimit,
    "judge": Judge,
    "custom": Custom,
    "not": Not,
    "any_of": AnyOf,
    "all_of": AllOf,
}
"""The class of each ``type``."""

for _group in (Not, AnyOf, AllOf):
    # Their members are any assertions, so only here can that be resolved.
    _group.model_rebuild(_types_namespace={"Assertion": Assertion})

_ADAPTER: TypeAdapter[Assertion] = TypeAdapter(Assertion)


def parse(raw: Mapping[str, Any]) -> Assertion:
    """Return the assertion that a mapping in canonical form (``shorthand.canonical``) describes.

    Raises:
        pydantic.ValidationError: Unknown type or key, a parameter missing or out of range.
    """
    return _ADAPTER.validate_python(raw)
