"""How a run is recorded: whether its records keep what was said, and what is struck out of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from salvo_core.trace.frozen import Frozen

RecordingMode = Literal["full", "metadata_only"]

EXCLUDED = "[CONTENT_EXCLUDED]"
"""Stands where a text was left out; the predecessor's mark."""


def _pattern(text: str) -> str:
    import regex  # few projects have any

    try:
        regex.compile(text)
    except (regex.error, OverflowError, RecursionError) as error:
        raise PydanticCustomError(
            "regex", "is not a regular expression: {why}", {"why": str(error)[:80]}
        ) from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A regular expression, checked before anything is paid for."""


class Recording(Frozen):
    """How a run is recorded; part of its plan, so that every worker keeps to it.

    Attributes:
        mode: ``full`` keeps what was said, redacted; ``metadata_only`` keeps no content anywhere.
        patterns: Regular expressions of the submitter's project: what they match is struck out, besides
            what always is and what the worker's own project adds.
    """

    mode: RecordingMode = "full"
    patterns: tuple[Pattern, ...] = Field(default=(), max_length=100)
