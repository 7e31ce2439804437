"""What every assertion type shares: weight, required, a label, and one pure check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import one_line

LABEL_CHARS_MAX = 80
DETAILS_CHARS_MAX = 500
WEIGHT_MAX = 1e9
"""Weights are summed; beyond this a typing error is more likely than a wish."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one check came to.

    Attributes:
        score: 0-1, dimensionless.
        passed: Whether the assertion holds.
        details: What was seen, for people; one line, at most DETAILS_CHARS_MAX characters.
    """

    score: float
    passed: bool
    details: str

    @classmethod
    def of(cls, passed: bool, details: str) -> Check:
        """Return the all-or-nothing check: score 1 or 0, details made safe to show."""
        return cls(1.0 if passed else 0.0, passed, one_line(details, DETAILS_CHARS_MAX))


class AssertionSpec(BaseModel, ABC):
    """One check of a scenario, as written there in canonical form. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: str
    """Which check this is."""
    weight: float = Field(default=1.0, ge=0, le=WEIGHT_MAX, allow_inf_nan=False)
    """Share of the score, relative to the other assertions. 0 means that it is only reported.

    Negative weights are refused: they would push a score above 1.
    """
    required: bool = False
    """Whether failing it fails the trial hard, whatever the score."""

    @abstractmethod
    def label(self) -> str:
        """Return the assertion in at most LABEL_CHARS_MAX characters on one line, equal for every trial."""

    @abstractmethod
    def check(self, document: Document) -> Check:
        """Return what the trial's document says about this assertion. Pure; never changes the document."""

    def warnings(self) -> list[str]:
        """Return what is likely a mistake though the scenario is valid: sentences, shown before a run."""
        return []
