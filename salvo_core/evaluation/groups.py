"""Assertions made of assertions: ``not``, ``any_of``, ``all_of``.

A member whose check could not be made counts as unknown: the group's own check is an error
only when that leaves open whether it holds. ``any_of`` holds as soon as one member does, and
``all_of`` fails as soon as one does, whatever became of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from salvo_core.evaluation.assertion import (
    DETAILS_CHARS_MAX,
    LABEL_CHARS_MAX,
    AssertionSpec,
    Check,
    Step,
)
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.wording import one_line

if TYPE_CHECKING:
    # At run time the catalogue, which is made of these classes, puts the union of all types here
    # (``model_rebuild``); what a group asks of a member is what every assertion can do.
    from salvo_core.evaluation.assertion import AssertionSpec as Assertion

DEPTH_MAX = 5
"""Groups within one another."""

GROUP_MEMBERS_MAX = 100


class Group(AssertionSpec):
    """What ``not``, ``any_of`` and ``all_of`` share: bounds, and what members may say."""

    _weighs_members: ClassVar[bool] = False

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if depth(self) > DEPTH_MAX:
            raise PydanticCustomError(
                "nested_too_deep",
                "groups stand within one another more than {most} deep",
                {"most": DEPTH_MAX, "hint": "split it into several assertions"},
            )
        for path, member in self.members():
            if member.required:
                raise PydanticCustomError(
                    "member_required",
                    "has no effect inside {type}: it is the whole group that can be required",
                    {"type": self.type, "places": [(*path, "required")], "hint": "write it beside the group"},
                )
            if member.weight != 1 and not self._weighs_members:
                raise PydanticCustomError(
                    "member_weight",
                    "has no effect inside {type}: it is the whole group that is weighed",
                    {"type": self.type, "places": [(*path, "weight")], "hint": "write it beside the group"},
                )
        return self

    def needs_content(self) -> bool:
        """Tell whether any member does."""
        return any(member.needs_content() for _, member in self.members())


class Not(Group):
    """An assertion must not hold. All or nothing: the score is 1 if it does not, 0 if it does."""

    type: Literal["not"]
    assertion: Assertion
    """What must not hold; any assertion."""

    def label(self) -> str:
        """Return for example ``not tool_called issue_refund``."""
        return one_line(f"not {self.assertion.label()}", LABEL_CHARS_MAX)

    def members(self) -> Sequence[tuple[tuple[Step, ...], AssertionSpec]]:
        """Return the one assertion inside."""
        return ((("assertion",), self.assertion),)

    def check(self, document: Document) -> Check:
        """Pass if the assertion fails; one that cannot be checked cannot be negated either."""
        inner = self.assertion.tried(document)
        if inner.error is not None:
            return Check.impossible(inner.error, infra=inner.infra)
        said = "this holds, and must not" if inner.passed else "as wanted, this does not hold"
        return Check.of(not inner.passed, f"{said}: {inner.details}")


class _Several(Group):
    assertions: tuple[Assertion, ...] = Field(max_length=GROUP_MEMBERS_MAX, json_schema_extra={"minItems": 1})
    """The members: any assertions, groups too."""

    @field_validator("assertions")
    @classmethod
    def _somebody(cls, members: tuple[Assertion, ...]) -> tuple[Assertion, ...]:
        # Not min_length, which would count a member that is itself invalid as none.
        if not members:
            raise PydanticCustomError("no_members", "needs at least one assertion")
        return members

    def label(self) -> str:
        """Return for example ``any_of [tool_called refund, output_contains 'sorry']``."""
        inside = ", ".join(member.label() for member in self.assertions)
        return one_line(f"{self.type} [{inside}]", LABEL_CHARS_MAX)

    def members(self) -> Sequence[tuple[tuple[Step, ...], AssertionSpec]]:
        """Return the assertions inside, in order."""
        return tuple((("assertions", place), member) for place, member in enumerate(self.assertions))

    def _checks(self, document: Document) -> list[Check]:
        return [member.tried(document) for member in self.assertions]

    def _told(self, checks: Iterable[Check]) -> str:
        """Return what became of the members that do not hold, each with as much room as there is."""
        wrong = [pair for pair in zip(self.assertions, checks, strict=True) if not pair[1].passed]
        room = max(60, DETAILS_CHARS_MAX // max(1, len(wrong)) - LABEL_CHARS_MAX // 2)
        return "; ".join(
            f"{one_line(member.label(), LABEL_CHARS_MAX // 2)}: "
            + one_line(check.details if check.error is None else f"error, {check.error}", room)
            for member, check in wrong
        )


class AnyOf(_Several):
    """At least one of several assertions holds. The score is the best of theirs."""

    type: Literal["any_of"]

    def check(self, document: Document) -> Check:
        """Pass if any member passes."""
        checks = self._checks(document)
        held = [member.label() for member, one in zip(self.assertions, checks, strict=True) if one.passed]
        if not held and (unknown := _unknown(checks)) is not None:
            return unknown
        of_them = f"{len(held)} of {len(checks)} hold" if held else f"none of {len(checks)} holds"
        details = f"{of_them}: {'; '.join(held) if held else self._told(checks)}"
        return Check(max(one.score for one in checks), bool(held), one_line(details, DETAILS_CHARS_MAX))


class AllOf(_Several):
    """Each of several assertions holds. The score is the weighted mean of theirs, so it may earn part."""

    type: Literal["all_of"]

    _weighs_members: ClassVar[bool] = True

    def check(self, document: Document) -> Check:
        """Pass if every member passes; members without any weight among them count alike."""
        checks = self._checks(document)
        failed = [one for one in checks if not one.passed and one.error is None]
        if not failed and (unknown := _unknown(checks)) is not None:
            return unknown
        weights = [member.weight for member in self.assertions]
        if not any(weights):
            weights = [1.0] * len(checks)
        score = math.fsum(w * one.score for w, one in zip(weights, checks, strict=True)) / math.fsum(weights)
        wrong = sum(not one.passed for one in checks)
        details = f"{wrong} of {len(checks)} do not hold: {self._told(checks)}"
        if not wrong:
            details = f"all {len(checks)} hold"
        return Check(min(1.0, score), not wrong, one_line(details, DETAILS_CHARS_MAX))


def depth(spec: AssertionSpec) -> int:
    """Return how many groups stand within one another here, this one included; 0 for no group."""
    members = spec.members()
    return 1 + max(depth(member) for _, member in members) if members else 0


def _unknown(checks: Sequence[Check]) -> Check | None:
    """Return the check of a group that hangs on members which could not be checked; None if all could.

    It is infrastructure's failure if any of those is: with that member heard, the group might have come
    to something, so it must not count against the agent (I6).
    """
    errors = [one for one in checks if one.error is not None]
    if not errors:
        return None
    first = next((one for one in errors if one.infra), errors[0])
    return Check.impossible(first.error or "", infra=first.infra)
