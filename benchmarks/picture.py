"""The table as a picture: one bar for each line, its length the share of what the target allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _ROW, _TOP, _LEFT, _BAR = 920, 34, 64, 430, 330


def svg(lines: Sequence[Mapping[str, Any]], *, title: str, subtitle: str) -> str:
    """Return an SVG. The mark in the middle of each bar's track is the target; left of it is good."""
    height = _TOP + _ROW * len(lines) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="17" font-weight="600" fill="#1b1f24">{escape(title)}</text>',
        f'<text x="16" y="46" fill="#57606a">{escape(subtitle)}</text>',
    ]
    for number, line in enumerate(lines):
        parts += _row(line, _TOP + _ROW * number)
    middle = _LEFT + _BAR / 2
    parts.append(
        f'<text x="{middle}" y="{height - 14}" text-anchor="middle" fill="#57606a">'
        "target; a shorter bar is better</text>"
    )
    return "\n".join([*parts, "</svg>\n"])


def _row(line: Mapping[str, Any], y: float) -> list[str]:
    ratio, target = float(line["ratio"]), float(line["target"])
    share = ratio / target if line["at_most"] else target / ratio
    colour = "#1a7f37" if line["met"] else "#cf222e"
    sign = "≤" if line["at_most"] else "≥"
    times = "x" if line["baseline"] is not None else f" {line['unit']}"
    width = min(share, 2.0) * _BAR / 2
    said = f"{ratio:.2f}{times}  ({sign} {target:g}{times})"
    return [
        f'<text x="16" y="{y + 19}" fill="#1b1f24">{escape(str(line["what"]))}</text>',
        f'<rect x="{_LEFT}" y="{y + 6}" width="{_BAR}" height="18" fill="#eaeef2" rx="3"/>',
        f'<rect x="{_LEFT}" y="{y + 6}" width="{width:.1f}" height="18" fill="{colour}" rx="3"/>',
        f'<rect x="{_LEFT + _BAR / 2 - 1}" y="{y + 2}" width="2" height="26" fill="#1b1f24"/>',
        f'<text x="{_LEFT + _BAR + 10}" y="{y + 19}" fill="#1b1f24">{escape(said)}</text>',
    ]
