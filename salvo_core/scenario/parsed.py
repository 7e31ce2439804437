"""What reading a file yields: its data, where everything stands, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salvo_core.scenario.positions import Place, Positions
from salvo_core.scenario.problems import Problem


@dataclass
class Parsed:
    """One file read with all it includes.

    Attributes:
        data: JSON-ready; None where ``faulty`` says so.
        positions: Where everything stands.
        problems: Errors and warnings of reading, in the order they were met.
        faulty: Paths whose data is not what the file says.
        included: The files that were included, resolved.
    """

    data: Any = None
    positions: Positions = field(default_factory=Positions)
    problems: list[Problem] = field(default_factory=list)
    faulty: set[Place] = field(default_factory=set)
    included: set[Path] = field(default_factory=set)

    @property
    def usable(self) -> bool:
        """Whether there is anything to check further."""
        return () not in self.faulty

    @property
    def empty(self) -> bool:
        """Whether the file says nothing: no text, comments only, or null."""
        if self.usable:
            return self.data is None
        return [problem.code for problem in self.problems] == ["E007"]
