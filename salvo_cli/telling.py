"""How the end of a run is told on stdout: what a person chose on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Telling:
    """What stdout gets.

    Attributes:
        as_json: One document instead of the report.
        legacy: That document is the predecessor's.
        more: The report has its details.
        record: Mark the run as recorded, and name every trial's trace.
    """

    as_json: bool = False
    legacy: bool = False
    more: bool = False
    record: bool = False
