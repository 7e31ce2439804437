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
_MODEL_CHARACTERS_MAX = 20
_TRACK, _TRACK_HIGH = 84, 58
"""Height of a cell's row from run to run, and of the scale in it."""
_TRACK_LEFT, _TRACK_RIGHT = 320, 850
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


@dataclass(frozen=True, slots=True)
class Night:
    """A cell in one run, on the scale of pass rates.

    Attributes:
        told: What is read where the pointer rests on it; plain text.
        tone: As in Bar.
        measured: Its pass rate.
        stopped: Whether a rule stopped the cell early.
    """

    told: str
    tone: str
    measured: Measured
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """A cell from run to run.

    Attributes:
        name: Plain text.
        note: As name, a few words below it.
        nights: One per run, oldest first; None where nothing was graded.
        edits: Places from which on the scenario is another one.
    """

    name: str
    note: str
    nights: Sequence[Night | None]
    edits: Sequence[int] = ()


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
        parts.append(f'<text x="0" y="{y + 4}">{text(_cut(bar.name))}<title>{text(bar.name)}</title></text>')
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


def history(tracks: Sequence[Track], since: str, until: str) -> str:
    """Return pass rates with their intervals from run to run, a row a cell; empty without any.

    Hollow points are of cells that a rule stopped early: their intervals allow for it. An upright line
    stands where the scenario was edited. Runs stand at equal distances, whatever time was between them.

    Args:
        tracks: Each with a place for every run.
        since: When the oldest run was, for the scale.
        until: When the newest was.
    """
    if not tracks:
        return ""
    height = _TRACK * len(tracks) + 30
    parts = []
    for place, track in enumerate(tracks):
        parts += _drawn_track(track, _TRACK * place + 10)
    for x, anchor, told in ((_TRACK_LEFT, "start", since), (_TRACK_RIGHT, "end", until)):
        parts.append(
            f'<text class="quiet" x="{x}" y="{height - 6}" text-anchor="{anchor}">{text(told)}</text>'
        )
    return _svg(WIDTH, height, "pass rates with 95 % intervals from run to run", parts)


def _drawn_track(track: Track, top: float) -> list[str]:
    def up(share: float) -> float:
        return top + _TRACK_HIGH * (1 - share)

    def along(place: int) -> float:
        return _TRACK_LEFT + 8 + (_TRACK_RIGHT - _TRACK_LEFT - 16) * place / max(1, len(track.nights) - 1)

    middle = top + _TRACK_HIGH / 2
    parts = [
        f'<text x="0" y="{middle - 4:.1f}">{text(_cut(track.name))}<title>{text(track.name)}</title></text>',
        f'<text class="quiet" x="0" y="{middle + 13:.1f}">{text(track.note)}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = up(share)
        parts.append(f'<line class="grid" x1="{_TRACK_LEFT}" y1="{y:.1f}" x2="{_TRACK_RIGHT}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="quiet" x="{_TRACK_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{percent(share)}</text>"
        )
    for place in track.edits:
        x = along(place) - (along(1) - along(0)) / 2
        parts.append(f'<line class="edit" x1="{x:.1f}" y1="{up(1):.1f}" x2="{x:.1f}" y2="{up(0):.1f}"/>')
    for place, (one, other) in enumerate(pairwise(track.nights)):
        if one is not None and other is not None:
            y, y_next = up(one.measured.rate), up(other.measured.rate)
            parts.append(
                f'<line class="path" x1="{along(place):.1f}" y1="{y:.1f}" '
                f'x2="{along(place + 1):.1f}" y2="{y_next:.1f}"/>'
            )
    for place, night in enumerate(track.nights):
        if night is not None:
            low, rate, high = (
                up(share) for share in (night.measured.low, night.measured.rate, night.measured.high)
            )
            at = f"{along(place):.1f}"
            kind = f"{night.tone} hollow" if night.stopped else night.tone
            parts.append(f'<line class="{night.tone}" x1="{at}" y1="{low:.1f}" x2="{at}" y2="{high:.1f}"/>')
            parts.append(
                f'<circle class="{kind}" stroke-width="1.5" cx="{at}" cy="{rate:.1f}" r="3.5">'
                f"<title>{text(night.told)}</title></circle>"
            )
    last = next((night for night in reversed(track.nights) if night is not None), None)
    if last is not None:
        parts.append(
            f'<text x="{WIDTH}" y="{middle + 4:.1f}" text-anchor="end">{percent(last.measured.rate)}</text>'
        )
    return parts


def _cut(name: str) -> str:
    """Return a name that has room, cut in the middle: a model stands at the end, and tells cells apart."""
    over = len(name) - _NAME_CHARACTERS_MAX
    if over <= 0:
        return name
    scenario, mark, model = name.rpartition(" · ")
    end = mark + (model if len(model) <= _MODEL_CHARACTERS_MAX else model[: _MODEL_CHARACTERS_MAX - 1] + "…")
    return (
        (scenario or model)[: _NAME_CHARACTERS_MAX - 1 - (len(end) if mark else 0)]
        + "…"
        + (end if mark else "")
    )


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{text(label)}">\n{inside}\n</svg>'
