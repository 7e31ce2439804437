"""Assertions on what the agent said last."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

from pydantic import field_validator

from salvo_core.adapters.strict_json import parse
from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.schemas import Compiled, JsonSchema, format_used
from salvo_core.evaluation.wording import one_line, quoted


class OutputContains(AssertionSpec):
    """The agent's final answer contains a text."""

    type: Literal["output_contains"]
    value: Any
    """The text. A number or boolean stands for its textual form (42, True). Upper and lower case matter."""

    @field_validator("value")
    @classmethod
    def _something(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("null is in no answer; write the text that the answer must contain")
        return value

    def label(self) -> str:
        """Return for example ``output_contains 'refunded'``."""
        return one_line(f"output_contains {quoted(self.value)}", LABEL_CHARS_MAX)

    def check(self, document: Document) -> Check:
        """Pass if the text occurs in the last answer; an agent that never spoke fails."""
        content = document.content
        if content is None:
            return Check.of(False, f"the agent gave no answer, expected one with {quoted(self.value)}")
        if str(self.value) in content:
            return Check.of(True, f"the answer contains {quoted(self.value)}")
        return Check.of(False, f"the answer lacks {quoted(self.value)}: {document.quoted(content)}")

    def warnings(self) -> list[str]:
        """Warn of a text that every answer contains."""
        return ["an empty text is in every answer"] if self.value == "" else []


class OutputFitsSchema(AssertionSpec):
    """The agent's final answer is JSON that fits a JSON Schema (draft 2020-12)."""

    type: Literal["json_schema"]
    json_schema: JsonSchema
    """The schema; a ``$ref`` in it leads to another place of the same schema."""
    fenced: bool = True
    """Whether the JSON may stand in a fenced block of the answer, with text around it: the only block,
    or the only one that is marked ``json``."""

    def label(self) -> str:
        """Return for example ``json_schema Refund``: the schema's title, or its first required names."""
        required = self.json_schema.get("required")
        names = ", ".join(map(str, required)) if isinstance(required, list) else ""
        title = self.json_schema.get("title") or (f"[{names}]" if names else "")
        return one_line(f"json_schema {title}".strip(), LABEL_CHARS_MAX)

    def check(self, document: Document) -> Check:
        """Pass if the answer is JSON and fits; an agent that never spoke fails."""
        content = document.content
        if content is None:
            return Check.of(False, "the agent gave no answer, expected JSON")
        try:
            value = parse(content)
        except ValueError as problem:
            block = _fenced(content) if self.fenced else None
            if block is None:
                return Check.of(False, f"the answer is not JSON: {problem}; {document.quoted(content)}")
            try:
                value = parse(block)
            except ValueError as inside:
                return Check.of(False, f"the fenced block is not JSON: {inside}; {document.quoted(block)}")
        fault = self.compiled_schema.fault(value, document)
        return Check.of(
            fault is None, "the answer fits the schema" if fault is None else f"the answer, {fault}"
        )

    def warnings(self) -> list[str]:
        """Warn of what a schema says in vain."""
        if format_used(self.json_schema):
            return ["`format` in a JSON Schema is a remark and is not checked; use `pattern`"]
        return [] if self.json_schema else ["an empty schema fits every JSON"]

    @cached_property
    def compiled_schema(self) -> Compiled:
        """The schema, ready; made on first use."""
        return Compiled(self.json_schema)


_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ \t]*([^`]*)")


def _fenced(content: str) -> str | None:
    """Return what is inside the only fenced block, or the only one marked json; None if there is none such.

    Source:
        CommonMark 0.31, section 4.5: a fence is closed by one at least as long, or by the end.
    """
    blocks: list[tuple[str, list[str]]] = []
    fence = ""
    for line in content.splitlines():
        found = _FENCE.fullmatch(line.rstrip())
        if not fence and found is not None:
            fence = found[1]
            blocks.append((found[2].strip().lower(), []))
        elif fence and found is not None and found[1].startswith(fence) and not found[2]:
            fence = ""
        elif fence:
            blocks[-1][1].append(line)
    marked = [lines for mark, lines in blocks if mark == "json"] or [lines for _, lines in blocks]
    return "\n".join(marked[0]) if len(marked) == 1 else None
