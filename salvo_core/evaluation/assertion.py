"""What every assertion type shares: weight, required, a label, and one pure check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
        error: Why the check could not be made, as long at most; None if it was. Then it says nothing
            about the agent, the score is 0 and ``passed`` is false.
        infra: Whether it was infrastructure that kept the check from being made (a judge that could
            not be heard): then it counts neither way (I6).
    """

    score: float
    passed: bool
    details: str
    error: str | None = None
    infra: bool = False

    @classmethod
    def of(cls, passed: bool, details: str) -> Check:
        """Return the all-or-nothing check: score 1 or 0, details made safe to show."""
        return cls(1.0 if passed else 0.0, passed, one_line(details, DETAILS_CHARS_MAX))

    @classmethod
    def impossible(cls, error: str, *, infra: bool = False) -> Check:
        """Return the check that could not be made, and why, made safe to show."""
        return cls(0.0, False, "", one_line(error, DETAILS_CHARS_MAX), infra)


Step = str | int
"""One step of the way to something inside an assertion: a key, or a place in a list."""


class AssertionSpec(BaseModel, ABC):
    """One check of a scenario, as written there in canonical form. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)

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

    def tried(self, document: Document) -> Check:
        """Return ``check(document)``; whatever that raises is the check's own error, without secrets."""
        try:
            return self.check(document)
        except Exception as raised:  # a mistake of ours or of an assertion must cost nothing but itself
            return Check.impossible(f"{type(raised).__name__}: {document.redacted(str(raised))}")

    def members(self) -> Sequence[tuple[tuple[Step, ...], AssertionSpec]]:
        """Return the assertions inside this one, each with where it stands: none, unless it is a group."""
        return ()

    def needs_content(self) -> bool:
        """Tell whether the check looks at what was said, which a record of metadata alone does not keep.

        True unless a type knows better: a check that is wrongly left out is told, one that is made on
        markers would be believed.
        """
        return True

    def warnings(self) -> list[str]:
        """Return what is likely a mistake though the scenario is valid: sentences, shown before a run.

        Those of members are their own to tell.
        """
        return []
