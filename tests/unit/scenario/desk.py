"""A project folder in which each test writes the files it is about."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from salvo_core.scenario.loading import Loaded, load_paths, load_scenario
from salvo_core.scenario.problems import Problem, ScenarioInvalid, ci
from salvo_core.scenario.project import Project

MINIMAL = "model: gpt-4o\nprompt: Hello\n"


class Desk:
    """Files in a temporary project, the current folder of the test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = Project(root=root)

    def write(self, name: str, text: str | bytes) -> Path:
        """Write a file and return its path relative to the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return Path(name)

    def load(self, text: str | bytes, name: str = "s.yaml", **options: object) -> Loaded:
        """Load a scenario of that text."""
        return load_scenario(self.write(name, text), project=self.project, **options)  # type: ignore[arg-type]

    def problems(self, text: str | bytes, name: str = "s.yaml") -> tuple[Problem, ...]:
        """Return what is wrong with a scenario of that text."""
        with pytest.raises(ScenarioInvalid) as caught:
            self.load(text, name)
        assert caught.value.exit_code == 64
        return caught.value.problems

    def problem(self, text: str | bytes, name: str = "s.yaml") -> Problem:
        """Return the only thing that is wrong with a scenario of that text."""
        (found,) = self.problems(text, name)
        return found

    def lines(self, text: str | bytes) -> list[str]:
        """Return what is wrong, in the CI form."""
        return [ci(problem) for problem in self.problems(text)]

    def load_all(self, *names: str, **options: object) -> list[str]:
        """Return the files that load from these paths."""
        found = load_paths([Path(name) for name in names], project=self.project, **options)  # type: ignore[arg-type]
        return [one.file for one in found]
