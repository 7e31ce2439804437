"""The fixture of the scenario tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.scenario.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty project, and the current folder in it."""
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)
