"""Did an agent get worse between nights: evidence that is carried from night to night.

One night of twenty trials says little: an agent that passes 85 % shows 65 % or less on one night of
fifty. So each cell's nights add up to one figure, the CUSUM of their log-likelihood ratios for a
fall by a stated amount. A low bound raises a suspicion, which costs a confirmation run of fresh
trials; only when those carry the same evidence over a high bound is it an alert.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from salvo_core.stats.homogeneity import homogeneity
from salvo_core.stats.intervals import wilson
from salvo_core.stats.pooled import Counted

Phase = Literal["learning", "calm", "suspected", "fallen"]
Event = Literal["suspicion", "dismissed", "alert", "all clear"]

REFERENCE_CONFIDENCE = 0.6827
"""Of the interval whose lower end is a reference: one standard error."""
RATE_MIN = 0.01
"""No reference is nearer to 0 or 1: a single trial would be evidence without bound."""


class Night(NamedTuple):
    """What one cell's trials came to on one night.

    Attributes:
        passed: Trials that passed, 0 <= passed <= n.
        n: Graded trials; 0 leaves everything as it was.
        confirmation: These are the fresh trials that a suspicion asked for.
    """

    passed: int
    n: int
    confirmation: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """When a fall is suspected, told, and over.

    Attributes:
        fall: By how much the pass rate falls in what is looked for, dimensionless, 0 < fall < 1.
        suspicion: Evidence from which a confirmation run is worth its price, nats.
        alert: Evidence from which somebody is told, nats, > suspicion.
        recovery: Evidence of the old rate from which an alert is over, nats.
        window_nights: Nights, the newest calm ones, that the reference is taken from.
        reference_trials_min: Graded trials before which there is no reference, and so no evidence.
        dispersion_p: Nights that differ so improbably differ by more than chance: see ``Watch``.
    """

    fall: float = 0.15
    suspicion: float = 1.75
    alert: float = 8.0
    recovery: float = 3.0
    window_nights: int = 60
    reference_trials_min: int = 200
    dispersion_p: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.fall < 1:
            raise ValueError(f"a fall of {self.fall} is not between 0 and 1")
        if not 0 < self.suspicion < self.alert or self.recovery <= 0:
            raise ValueError(
                f"the bounds {self.suspicion}, {self.alert} and {self.recovery} are not "
                "in the order 0 < suspicion < alert, 0 < recovery"
            )
        if self.window_nights < 1 or self.reference_trials_min < 1:
            raise ValueError("a reference needs at least one night and one trial")


DEFAULT = Rule()


class WatchState(NamedTuple):
    """All that a watch knows of its nights, so that they need not be read again.

    Attributes:
        phase: As in ``Watch``, and so are the next three.
        evidence: Nats.
        decisive: Nats.
        reference: Rate, or None.
        calm: The newest calm nights, oldest first.
        doubtful: The newest of those since evidence stands, oldest first.
    """

    phase: Phase
    evidence: float
    decisive: float
    reference: float | None
    calm: tuple[Counted, ...]
    doubtful: tuple[Counted, ...]


class Watch:
    """One cell, night after night.

    The reference is the lower end of an interval for the calm nights' rate, so that few trials do not
    promise more than they show. While evidence stands the reference stands: bad nights must not make
    themselves the measure. Where calm nights differ from each other by more than chance, the
    surroundings drift, and each night's evidence is divided by how much they do: it then takes
    more than one bad night to say that it is the agent.

    Args:
        rule: The bounds.
        baseline: A reference that is given instead of learned, dimensionless, 0..1.

    Attributes:
        phase: Where the cell stands.
        evidence: Nats for the fall, >= 0; since an alert, nats for its being over.
        decisive: The evidence that the newest event rested on, nats; an alert's own begins again from 0.
        reference: Rate that nights are measured by; None while it is being learned.

    Source:
        E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954); quasi-likelihood:
        Wedderburn, Biometrika 61 (1974).
    """

    def __init__(self, rule: Rule = DEFAULT, *, baseline: float | None = None) -> None:
        if baseline is not None and not 0 <= baseline <= 1:
            raise ValueError(f"a baseline of {baseline} is no rate")
        self.rule = rule
        self.phase: Phase = "learning"
        self.evidence = 0.0
        self.decisive = 0.0
        self.reference: float | None = None
        self._baseline = baseline
        self._calm: deque[Counted] = deque(maxlen=rule.window_nights)
        self._doubtful: deque[Counted] = deque(maxlen=rule.window_nights)
        self._dispersion: float | None = None
        self._measure()

    @classmethod
    def restored(cls, state: WatchState, rule: Rule = DEFAULT, *, baseline: float | None = None) -> Watch:
        """Return the watch that has this state; rule and baseline are those that it was made with."""
        watch = cls(rule, baseline=baseline)
        watch.phase, watch.evidence, watch.decisive, watch.reference = state[:4]
        watch._calm.extend(state.calm)
        watch._doubtful.extend(state.doubtful)
        return watch

    @property
    def state(self) -> WatchState:
        """All that it knows: what is restored from it goes on as if it had seen every night."""
        return WatchState(
            self.phase, self.evidence, self.decisive, self.reference, tuple(self._calm), tuple(self._doubtful)
        )

    def add(self, night: Night) -> Event | None:
        """Take the next night, or the confirmation that a suspicion asked for; return what it changes.

        Returns:
            ``suspicion`` asks for a confirmation run, again on every night until one decides;
            ``dismissed`` ends it without a word to anybody; ``alert`` and ``all clear`` are told, each once.

        Raises:
            ValueError: The counts are none.
        """
        if not 0 <= night.passed <= night.n:
            raise ValueError(f"{night.passed} of {night.n} trials cannot have passed")
        if not night.n:
            return None
        counted = Counted(night.passed, night.n)
        if self.reference is None:
            self._calm.append(counted)
            self._measure()
            return None
        ratio = self._ratio(counted, self.reference)
        if self.phase == "fallen":
            return self._recover(ratio)
        self.evidence = self.decisive = max(0.0, self.evidence + ratio)
        self._doubtful.append(counted)
        if self.evidence >= self.rule.alert and night.confirmation:
            self.phase, self.evidence = "fallen", 0.0
            self._doubtful.clear()
            return "alert"
        if self.evidence >= self.rule.suspicion:
            self.phase = "suspected"
            return None if night.confirmation else "suspicion"
        dismissed = self.phase == "suspected"
        self.phase = "calm"
        if not self.evidence:
            self._calm.extend(self._doubtful)
            self._doubtful.clear()
            self._measure()
        return "dismissed" if dismissed else None

    def _recover(self, ratio: float) -> Event | None:
        self.evidence = self.decisive = max(0.0, self.evidence - ratio)
        if self.evidence < self.rule.recovery:
            return None
        self.phase, self.evidence = "calm", 0.0
        return "all clear"

    def _ratio(self, counted: Counted, reference: float) -> float:
        """Return how many nats the counts say for the fall, against the reference."""
        fallen = max(reference - self.rule.fall, reference / 4)
        passed, failed = counted.passed, counted.n - counted.passed
        nats = passed * math.log(fallen / reference) + failed * math.log((1 - fallen) / (1 - reference))
        if nats < 0 and not self.evidence and self.phase != "fallen":
            return nats  # most nights: nothing stands that it could take away from
        if self._dispersion is None:
            self._dispersion = self._spread()
        return nats / self._dispersion

    def _spread(self) -> float:
        """Return by how much calm nights differ from each other, 1 where chance explains it."""
        spread = homogeneity(self._calm)
        if spread is None or spread.p >= self.rule.dispersion_p:
            return 1.0
        return max(1.0, spread.statistic / spread.degrees)

    def _measure(self) -> None:
        """Take the reference from the calm nights."""
        self._dispersion = None
        passed, n = (sum(night[place] for night in self._calm) for place in (0, 1))
        if self._baseline is not None:
            rate = self._baseline
        elif n >= self.rule.reference_trials_min:
            rate = wilson(passed, n, confidence=REFERENCE_CONFIDENCE).low
        else:
            return
        self.reference = min(max(rate, RATE_MIN), 1 - RATE_MIN)
        if self.phase == "learning":
            self.phase = "calm"


def followed(nights: Iterable[Night], rule: Rule = DEFAULT, *, baseline: float | None = None) -> Watch:
    """Return where a cell stands after all these nights, oldest first.

    A watch is a function of its nights: nothing of it needs to be kept, and it can be worked out
    again from summaries alone.
    """
    watch = Watch(rule, baseline=baseline)
    for night in nights:
        watch.add(night)
    return watch
