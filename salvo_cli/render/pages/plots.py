"""Plots as SVG inside a page: marks on a scale, nothing that moves, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from salvo_cli.render.numbers import percent, usd
from salvo_cli.render.pages.sheet import text

WIDTH = 900
_NAMES, _RIGHT = 300, 60
"""Columns for names, and for figures, beside the scale of pass rates."""
_ROW = 30
_NAME_CHARACTERS_MAX = 42
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """A pass rate with its interval, all 0-1."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell on the scale of pass rates.

    Attributes:
        name: Plain text.
        tone: A class of the sheet: good, bad, open.
        now: None where nothing was graded.
        then: The baseline's, if there is one.
    """

    name: str
    tone: str
    now: Measured | None
    then: Measured | None = None


@dataclass(frozen=True, slots=True)
class Spot:
    """A cell between cost and pass rate.

    Attributes:
        number: Its row's in the table of cells.
        name: Plain text.
        tone: As in Bar.
        cost_usd: Mean of a trial, >= 0.
        rate: Pass rate, 0-1.
        then: The baseline's (cost_usd, rate), if there is one.
    """

    number: int
    name: str
    tone: str
    cost_usd: float
    rate: float
    then: tuple[float, float] | None = None


def pass_rates(bars: Sequence[Bar]) -> str:
    """Return pass rates with their intervals, one row a cell; a baseline's stand hollow above."""
    height = _ROW * len(bars) + 30
    parts = []
    for tick in _TICKS:
        x = _across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{height - 24}"/>')
        parts.append(
            f'<text class="quiet" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{percent(tick)}</text>'
        )
    for place, bar in enumerate(bars):
        y = _ROW * place + 18
        short = (
            bar.name if len(bar.name) <= _NAME_CHARACTERS_MAX else bar.name[: _NAME_CHARACTERS_MAX - 1] + "…"
        )
        parts.append(f'<text x="0" y="{y + 4}">{text(short)}<title>{text(bar.name)}</title></text>')
        if bar.then is not None:
            parts += _measured(bar.then, y - 6, "then")
        if bar.now is not None:
            parts += _measured(bar.now, y + (3 if bar.then else 0), bar.tone)
        shown = "no grade" if bar.now is None else percent(bar.now.rate)
        parts.append(f'<text x="{WIDTH}" y="{y + 4}" text-anchor="end">{shown}</text>')
    return _svg(WIDTH, height, "pass rates with 95 % intervals", parts)


def _measured(one: Measured, y: float, kind: str) -> list[str]:
    return [
        f'<line class="{kind}" stroke-width="2" x1="{_across(one.low):.1f}" y1="{y}" '
        f'x2="{_across(one.high):.1f}" y2="{y}"/>',
        f'<circle class="{kind}" stroke-width="1.5" cx="{_across(one.rate):.1f}" cy="{y}" r="4"/>',
    ]


def _across(share: float) -> float:
    return _NAMES + share * (WIDTH - _NAMES - _RIGHT)


def cost_against_rate(spots: Sequence[Spot]) -> str:
    """Return a plot of what a trial costs against how often it passes; empty where no cost is known.

    A line leads from a baseline's place.
    """
    if not spots:
        return ""
    costs = [spot.cost_usd for spot in spots] + [spot.then[0] for spot in spots if spot.then]
    step = _step(max(costs))
    ticks = max(1, math.ceil(max(costs) / step))
    left, top, width, height = 50.0, 16.0, WIDTH - 80.0, 260.0

    def at(cost_usd: float, rate: float) -> tuple[float, float]:
        return left + width * cost_usd / (ticks * step), top + height * (1 - rate)

    parts = []
    for tick in _TICKS:
        _, y = at(0, tick)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="quiet" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{percent(tick)}</text>'
        )
    for number in range(ticks + 1):
        x, y = at(number * step, 0)
        label = "$0" if number == 0 else usd(number * step)
        parts.append(f'<text class="quiet" x="{x:.1f}" y="{y + 20:.1f}" text-anchor="middle">{label}</text>')
    for spot in spots:
        x, y = at(spot.cost_usd, spot.rate)
        if spot.then is not None:
            x_then, y_then = at(*spot.then)
            parts.append(
                f'<line class="then" x1="{x_then:.1f}" y1="{y_then:.1f}" x2="{x:.1f}" y2="{y:.1f}"/>'
            )
            parts.append(
                f'<circle class="then" stroke-width="1.5" cx="{x_then:.1f}" cy="{y_then:.1f}" r="4"/>'
            )
        told = f"{spot.name}: {percent(spot.rate)}, {usd(spot.cost_usd)} a trial"
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="5"'
        parts.append(f'<circle class="{spot.tone}" {place}><title>{text(told)}</title></circle>')
        parts.append(f'<text x="{x + 8:.1f}" y="{y - 5:.1f}">{spot.number}</text>')
    return _svg(WIDTH, round(top + height) + 28, "cost of a trial against pass rate", parts)


def _step(most: float) -> float:
    """Return a round step that parts 0..most into five at most."""
    if most <= 0:
        return 0.01
    power = 10.0 ** math.floor(math.log10(most / 5))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= most * (1 - 1e-9))


def trend(rates: Sequence[float | None]) -> str:
    """Return a small line of pass rates, oldest first; where there is none, the line has a gap."""
    width, height, edge = 190.0, 30.0, 4.0
    step = (width - 2 * edge) / max(1, len(rates) - 1)
    dots = [
        None if rate is None else (edge + place * step, edge + (height - 2 * edge) * (1 - rate))
        for place, rate in enumerate(rates)
    ]
    parts = [f'<line class="grid" x1="0" y1="{height - edge}" x2="{width}" y2="{height - edge}"/>']
    for a, b in pairwise(dots):
        if a and b:
            parts.append(
                f'<line class="now" x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"/>'
            )
    parts += [f'<circle class="now" cx="{dot[0]:.1f}" cy="{dot[1]:.1f}" r="2.5"/>' for dot in dots if dot]
    return _svg(round(width), round(height), "pass rate from run to run", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(label)}">\n{inside}\n</svg>'
