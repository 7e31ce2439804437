"""The book of scripts a pretend provider follows, and its rate limit.

::

    default: refund-desk            # for models that no script is named after; leave out to answer 404
    rate_limit: {requests_per_minute: 600, burst: 20}
    scripts:
      refund-desk: {turns: [...]}   # answers to the models refund-desk and sim/refund-desk
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from salvo_core.adapters.script import Script

_ONLY = "default"


class RateLimit(BaseModel):
    """What all callers together may ask for: a bucket of ``burst`` requests, filled at an even rate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: float = Field(gt=0, le=1e9, allow_inf_nan=False)
    burst: int = Field(default=1, ge=1)
    """Requests that may come at once after a quiet time."""


class ScriptBook(BaseModel):
    """Named scripts, and which one a model's name chooses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scripts: dict[str, Script] = Field(min_length=1)
    default: str | None = None
    rate_limit: RateLimit | None = None

    @field_validator("default")
    @classmethod
    def _names_a_script(cls, default: str | None, known: ValidationInfo) -> str | None:
        scripts = known.data.get("scripts")
        if default is None or scripts is None or default in scripts:
            return default
        near = difflib.get_close_matches(default, scripts, n=1)
        raise ValueError(
            f"no script is called {default!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        )

    @classmethod
    def read(cls, document: object) -> Self:
        """Return the book a parsed file holds: either a book, or one script that answers to every model.

        Args:
            document: What YAML or JSON gave.

        Raises:
            pydantic.ValidationError: It is neither; locations are those of the document.
        """
        if isinstance(document, Mapping) and not document.keys() & cls.model_fields.keys():
            return cls(scripts={_ONLY: Script.model_validate(document)}, default=_ONLY)
        return cls.model_validate(document)

    def find(self, model: str) -> tuple[str, Script] | None:
        """Return the name and the script that a model's name chooses.

        The whole name counts first, then what stands after its first slash (``sim/refund-desk``
        is ``refund-desk``), then the default; None when the book has no default either.
        """
        for name in (model, model.partition("/")[2], self.default):
            if name is not None and name in self.scripts:
                return name, self.scripts[name]
        return None
