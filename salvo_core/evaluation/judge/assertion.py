"""Assertions that a model judges: its opinion on criteria in plain words, asked for k times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, WEIGHT_MAX, AssertionSpec, Check
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.judge.counting import verdict_of
from salvo_core.evaluation.judge.defaults import TEMPERATURE_MAX, VOTES_MAX, JudgeAdapter, JudgeDefaults
from salvo_core.evaluation.wording import one_line

CRITERIA_MAX = 50
NAME_CHARS_MAX = 80
TEXT_CHARS_MAX = 20_000
"""Of one description and of a custom prompt."""


class Criterion(BaseModel):
    """One thing that the judge scores from 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)

    name: str = Field(max_length=NAME_CHARS_MAX)
    """What it is called, by the judge and in every report."""
    description: str = Field(max_length=TEXT_CHARS_MAX)
    """What the judge should look at, and what makes it good."""
    weight: float = Field(default=1.0, ge=0, le=WEIGHT_MAX, allow_inf_nan=False)
    """Share of the judge's score, relative to the other criteria. 0 means that it is only reported."""

    @field_validator("name")
    @classmethod
    def _a_name(cls, name: str) -> str:
        if not name.strip():
            raise PydanticCustomError("empty_text", "is empty")
        if not name.isprintable() or name != name.strip():
            raise PydanticCustomError(
                "criteria_name", "must be one line without blanks around it, or other characters nobody sees"
            )
        return name


@dataclass(frozen=True, slots=True)
class Terms:
    """How a judge is asked, the assertion's word before the project's: all that can be said in either."""

    adapter: str
    model: str
    k: int
    temperature: float
    max_tokens: int
    threshold: float


class Judge(AssertionSpec):
    """A model judges the conversation by your criteria, in k votes; most of them must be in favour."""

    type: Literal["judge"]
    criteria: tuple[Criterion, ...] = Field(max_length=CRITERIA_MAX, json_schema_extra={"minItems": 1})
    """What it judges by."""
    judge_adapter: JudgeAdapter | None = None
    """Whom to ask; else judge.adapter of salvo.yaml."""
    judge_model: str | None = Field(default=None, min_length=1)
    """Which model; else judge.model of salvo.yaml."""
    k: int | None = Field(default=None, ge=1, le=VOTES_MAX)
    """How many votes, each a question of its own; else judge.k of salvo.yaml."""
    temperature: float | None = Field(default=None, ge=0, le=TEMPERATURE_MAX, allow_inf_nan=False)
    """Sampling temperature of the judge; else judge.temperature of salvo.yaml."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Most output tokens of one vote; else judge.max_tokens of salvo.yaml."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """The weighted score from which a vote is in favour; else judge.default_threshold of salvo.yaml."""
    custom_prompt: str | None = Field(default=None, max_length=TEXT_CHARS_MAX)
    """Who the judge is and how it scores, in place of Salvo's words; the criteria still follow it."""
    include_system_prompt: bool = False
    """Whether the judge sees the agent's system prompt and tools."""
    include_user_prompt: bool = False
    """Whether the judge sees what the user asked."""
    include_tool_results: bool = False
    """Whether the judge sees what the tools answered."""

    @field_validator("criteria")
    @classmethod
    def _to_judge_by(cls, criteria: tuple[Criterion, ...]) -> tuple[Criterion, ...]:
        # Not min_length, which would count a criterion that is itself invalid as none.
        if not criteria:
            raise PydanticCustomError(
                "criteria_none", "needs at least one criterion", {"hint": "each has a name and a description"}
            )
        first = {one.name: place for place, one in reversed(list(enumerate(criteria)))}
        again = [(place, "name") for place, one in enumerate(criteria) if first[one.name] != place]
        if again:
            raise PydanticCustomError(
                "criteria_twice", "another criterion has this name already", {"places": again}
            )
        if not math.fsum(one.weight for one in criteria):
            raise PydanticCustomError(
                "criteria_weightless",
                "weigh nothing together, so no vote could ever be in favour",
                {"hint": "give at least one criterion a weight"},
            )
        return criteria

    @property
    def weights(self) -> dict[str, float]:
        """The criteria's weights by name, in order."""
        return {one.name: one.weight for one in self.criteria}

    def terms(self, defaults: JudgeDefaults) -> Terms:
        """Return how this judge is asked in a project with these defaults."""
        return Terms(
            adapter=defaults.adapter if self.judge_adapter is None else self.judge_adapter,
            model=defaults.model if self.judge_model is None else self.judge_model,
            k=defaults.k if self.k is None else self.k,
            temperature=defaults.temperature if self.temperature is None else self.temperature,
            max_tokens=defaults.max_tokens if self.max_tokens is None else self.max_tokens,
            threshold=defaults.default_threshold if self.threshold is None else self.threshold,
        )

    def label(self) -> str:
        """Return for example ``judge politeness, accuracy``."""
        return one_line(f"judge {', '.join(one.name for one in self.criteria)}", LABEL_CHARS_MAX)

    def check(self, document: Document) -> Check:
        """Count the votes that were heard before; asking for them is not this method's business."""
        ballot = document.ballots.get(self)
        if ballot is None:
            return Check.impossible("no judge was asked here: workers do that, during a trial", infra=True)
        return verdict_of(ballot, document.redacted)

    def warnings(self) -> list[str]:
        """Warn of a custom prompt that says nothing."""
        blank = self.custom_prompt is not None and not self.custom_prompt.strip()
        return ["custom_prompt is empty, so the judge is told Salvo's own words"] if blank else []
