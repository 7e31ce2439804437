"""Assertions on the arguments of tool calls."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.matching import first_difference
from salvo_core.evaluation.query import Operator, compare, query_problems
from salvo_core.evaluation.schemas import Compiled, JsonSchema, format_used
from salvo_core.evaluation.wording import one_line, quoted
from salvo_core.trace.model import ToolCall

_WAYS = ("subset", "json_schema", "expression")


class ToolArgs(AssertionSpec):
    """A tool was called with such arguments. One way to say which: subset, json_schema or expression."""

    type: Literal["tool_args"]
    tool: str = Field(min_length=1)
    """The tool's name, compared as it stands."""
    call: Literal["any", "all"] | Annotated[int, Field(ge=1)] = "any"
    """Which calls of the tool: ``any``: at least one fits. ``all``: there is one, and each fits. A number:
    the n-th, counted from 1."""
    subset: dict[str, Any] | None = None
    """Arguments that the call has, among others; maps match in part, everything else exactly."""
    json_schema: JsonSchema | None = None
    """A JSON Schema (draft 2020-12) that the arguments, as an object, fit."""
    expression: str | None = None
    """JMESPath over the arguments; needs an operator, as in the type jmespath."""
    operator: Operator | None = None
    """How to compare what the expression yields."""
    value: Any = None
    """What to compare with; needed by every operator but ``exists``."""

    @field_validator("call", mode="before")
    @classmethod
    def _a_call(cls, call: Any) -> Any:
        number = call if isinstance(call, int) and not isinstance(call, bool) else 0
        if call not in ("any", "all") and number < 1:
            raise PydanticCustomError("which_call", "must be any, all, or the number of a call from 1")
        return call

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "one_way",
                "needs exactly one of {ways}",
                {"ways": ", ".join(_WAYS), "places": [(way,) for way in given[1:]] or [()]},
            )
        if given != ["expression"]:
            spare = [name for name in ("operator", "value") if getattr(self, name) is not None]
            if spare:
                raise PydanticCustomError(
                    "one_way", "belongs to `expression`", {"places": [(name,) for name in spare]}
                )
        elif self.operator is None:
            raise PydanticCustomError(
                "missing_operator", "is required, and missing", {"places": [("operator",)]}
            )
        elif self.value is None and self.operator != "exists":
            raise PydanticCustomError("missing_value", "is required, and missing", {"places": [("value",)]})
        return self

    def label(self) -> str:
        """Return for example ``tool_args issue_refund {'amount_usd': 42.5}``."""
        which = {"any": "", "all": " all calls"}.get(str(self.call), f" call {self.call}")
        if self.subset is not None:
            wanted = quoted(self.subset)
        elif self.expression is not None:
            wanted = f"{self.expression} {self.operator}"
            wanted += "" if self.operator == "exists" else f" {quoted(self.value)}"
        else:
            wanted = "json_schema"
        return one_line(f"tool_args {self.tool}{which} {wanted}", LABEL_CHARS_MAX)

    def check(self, document: Document) -> Check:
        """Look at the calls that are meant; one that was not made does not fit."""
        calls = [call for call in document.tool_calls if call.name == self.tool]
        if not calls:
            others = quoted(list(document.tool_names)) if document.tool_names else "nothing"
            return Check.of(False, f"{quoted(self.tool)} was not called; the agent called {others}")
        if isinstance(self.call, int):
            if self.call > len(calls):
                return Check.of(
                    False, f"there is no call {self.call} of {quoted(self.tool)}: {len(calls)} in all"
                )
            fault = self._fault(calls[self.call - 1], document)
            return Check.of(fault is None, f"call {self.call} {fault or 'fits'}")
        faults = [self._fault(call, document) for call in calls]
        wrong = [
            f"call {number} {fault}" for number, fault in enumerate(faults, start=1) if fault is not None
        ]
        if self.call == "any" and len(wrong) < len(calls):
            return Check.of(True, f"call {faults.index(None) + 1} of {len(calls)} fits")
        return Check.of(not wrong, "; ".join(wrong) or f"calls: {len(calls)}, all fit")

    def warnings(self) -> list[str]:
        """Warn of an expression that can never work, and of what a schema says in vain."""
        if self.expression is not None and self.operator is not None:
            return query_problems(self.expression, self.operator, self.value)
        if self.json_schema is not None and format_used(self.json_schema):
            return ["`format` in a JSON Schema is a remark and is not checked; use `pattern`"]
        return ["an empty subset is in every call"] if self.subset == {} else []

    @cached_property
    def compiled_schema(self) -> Compiled:
        """The schema, ready; made on first use."""
        return Compiled(self.json_schema or {})

    def _fault(self, call: ToolCall, document: Document) -> str | None:
        """Return how a call's arguments differ from what is wanted, None if they fit."""
        if call.malformed is not None:
            return f"has arguments that are no JSON object: {document.quoted(call.malformed)}"
        if self.subset is not None:
            return _lacking(call.arguments, self.subset, document)
        if self.expression is None or self.operator is None:
            fault = self.compiled_schema.fault(call.arguments, document)
            return None if fault is None else f"does not fit the schema {fault}"
        compared = compare(call.arguments, self.expression, self.operator, self.value, document)
        return None if compared.passed else f"does not fit: {compared.details}"


def _lacking(arguments: dict[str, Any], subset: dict[str, Any], document: Document) -> str | None:
    difference = first_difference(arguments, subset)
    if difference is None:
        return None
    place = ".".join(difference.path)
    return f"lacks {one_line(place, 80)}: {quoted(difference.wanted)}; it has {document.quoted(arguments)}"
