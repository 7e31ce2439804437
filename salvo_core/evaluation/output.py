"""Assertions on what the agent said last."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
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
