"""When a score meets a threshold."""

from __future__ import annotations

SCORE_TOLERANCE = 1e-9
"""A score this little below a threshold reaches it.

Weights and averages are sums of floats: 0.7 + 0.1 of 1.0 is 0.7999999999999999, and no
person who writes ``threshold: 0.8`` means to fail that. Far above rounding, far below any
difference that a scenario can express.
"""


def reaches(score: float, threshold: float) -> bool:
    """Tell whether a score, or an average of scores, meets a threshold: SCORE_TOLERANCE below still does."""
    return score >= threshold - SCORE_TOLERANCE
