"""Projects in which a person types commands; nothing may be left running behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.typing_person import Person, until


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """Somebody in an empty project with the embedded servers."""
    someone = Person(tmp_path)
    yield someone
    someone.leaves()
    until(lambda: not someone.processes(), "processes left behind")
