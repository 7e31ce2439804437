"""What the simulator has seen so far: the numbers behind ``GET /stats``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from salvo_cli.simulator.request_log import Entry


class Counters:
    """Counts requests to models; the other endpoints count nothing."""

    def __init__(self) -> None:
        self._requests = 0
        self._by_status: Counter[str] = Counter()
        self._by_fault: Counter[str] = Counter()
        self._by_script: Counter[str] = Counter()
        self._input_tokens = 0
        self._output_tokens = 0
        self._in_flight = 0
        self._in_flight_peak = 0

    def begin(self) -> None:
        """Count a request that has begun."""
        self._in_flight += 1
        self._in_flight_peak = max(self._in_flight_peak, self._in_flight)

    def decided(self, entry: Entry) -> None:
        """Count a request whose answer is decided."""
        self._requests += 1
        self._by_status[str(entry.status or "none")] += 1
        if entry.fault:
            self._by_fault[entry.fault] += 1
        if entry.script:
            self._by_script[entry.script] += 1
        self._input_tokens += entry.input_tokens
        self._output_tokens += entry.output_tokens

    def end(self) -> None:
        """Count a request as over: answered, or its caller gone."""
        self._in_flight -= 1

    def document(self) -> dict[str, Any]:
        """Return the numbers, JSON-ready. ``by_status`` has "none" where no status line was sent."""
        return {
            "requests": self._requests,
            "by_status": dict(self._by_status),
            "by_fault": dict(self._by_fault),
            "by_script": dict(self._by_script),
            "input_tokens": self._input_tokens,
            "output_tokens": self._output_tokens,
            "in_flight": self._in_flight,
            "in_flight_peak": self._in_flight_peak,
        }
