"""The base of every record, alone: most are no traces, and need not import what a trace is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A record: extra keys are refused, fields do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
