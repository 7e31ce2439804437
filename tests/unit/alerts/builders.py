"""Alerts, a clock that a test moves, and channels that do what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from salvo_core.alerts.alert import Alert, AlertCell
from salvo_core.clock import Clock

NIGHT = datetime(2026, 11, 24, 2, tzinfo=UTC)
KEY = "a-signing-key-of-at-least-32-bytes"


def an_alert(**fields: Any) -> Alert:
    """Return an alert about one cell."""
    told: dict[str, Any] = {
        "id": "0f3a.alert",
        "incident": "0f3a",
        "kind": "alert",
        "schedule": "nightly",
        "run_id": "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111",
        "at": NIGHT,
        "title": "refund passes less often",
        "lines": ("0.85 before, 0.55 now",),
        "cells": (AlertCell(scenario="refund", model="m", rate=0.55, reference=0.85, n=20, evidence=4.5),),
    }
    return Alert(**told | fields)


class HandClock:
    """A clock that stands still until a test or a sleeper moves it."""

    def __init__(self) -> None:
        self.at = NIGHT
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return (self.at - NIGHT).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passes(seconds)
        await asyncio.sleep(0)

    def passes(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Pretend:
    """A channel that remembers what it was told, and does what a test says."""

    def __init__(self, name: str, *does: Callable[[], Any]) -> None:
        self.name = name
        self.shown = name
        self.heard: list[str] = []
        self._does = list(does)

    async def send(self, alert: Alert, clock: Clock) -> str:
        self.heard.append(alert.id)
        await asyncio.sleep(0)
        if self._does:
            self._does.pop(0)()
        return "ok"


def raising(error: BaseException) -> Callable[[], Any]:
    """Return what raises that."""

    def does() -> None:
        raise error

    return does
