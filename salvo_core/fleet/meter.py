"""How often a worker's exchanges came to an answer of late."""

from __future__ import annotations

from collections import deque


class Meter:
    """How often something happened of late."""

    WINDOW_S = 10

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque(maxlen=self.WINDOW_S)
        self._first_s: float | None = None

    def count(self, now_s: float) -> None:
        """Note that it happened."""
        self._first_s = now_s if self._first_s is None else self._first_s
        second = int(now_s)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += 1
        else:
            self._seconds.append([second, 1])

    def per_min(self, now_s: float) -> float:
        """Return how often it happened a minute in the last WINDOW_S seconds, or since the first time."""
        if self._first_s is None:
            return 0.0
        recent = sum(count for second, count in self._seconds if second > now_s - self.WINDOW_S)
        return 60 * recent / min(max(now_s - self._first_s, 1.0), self.WINDOW_S)
