"""Fixtures: a canned provider, and a clock that does not sleep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.unit.adapters.server import CannedServer


class InstantClock:
    """A clock on which waiting takes no time, and is remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.time_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return self.time_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time_s += seconds


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> InstantClock:
    return InstantClock()


@pytest.fixture
async def server() -> AsyncIterator[CannedServer]:
    canned = CannedServer()
    await canned.start()
    yield canned
    await canned.stop()
