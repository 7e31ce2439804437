"""The sheet that every page is written on: its head, its look, its tables."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from salvo_cli.render.console import visible

STYLE = """
:root{--ink:#1d2329;--quiet:#5d6873;--line:#d9dee3;--paper:#fff;--good:#1a7f37;--bad:#c5221f;--open:#9a6700;
--mark:#2f6fb3;--then:#8a949e;--soft:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--quiet:#9aa5b0;--line:#39414a;--paper:#14181c;
--good:#4cc26a;--bad:#ff7b72;--open:#e0b13c;--mark:#79b0ea;--then:#7f8a95;--soft:#1d2329}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem;color:var(--ink);background:var(--paper);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem}p{margin:.3rem 0}
h1 .quiet{font-size:1rem;font-weight:400}
.quiet{color:var(--quiet)}.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
code{font:.87em ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--quiet);font-weight:500;white-space:nowrap}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td.w{white-space:nowrap}
td.t{overflow-wrap:anywhere;min-width:10rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",sans-serif}
svg text{fill:var(--ink)}svg .quiet{fill:var(--quiet)}svg .grid{stroke:var(--line)}
svg .then{stroke:var(--then);fill:var(--paper)}
svg .good{stroke:var(--good);fill:var(--good)}svg .bad{stroke:var(--bad);fill:var(--bad)}
svg .open{stroke:var(--open);fill:var(--open)}svg .hollow{fill:var(--paper)}
svg .path{stroke:var(--then)}svg .edit{stroke:var(--mark);stroke-dasharray:3 3}
@media print{body{max-width:none;padding:0;font-size:11px}h2{break-after:avoid}tr,svg{break-inside:avoid}}
"""

TONES = {
    "PASS": "good", "IMPROVED": "good", "SAME": "good",
    "FAIL": "bad", "HARD FAIL": "bad", "REGRESSED": "bad",
}  # fmt: skip
"""How a verdict is coloured; any other is open."""


def tone(verdict: str) -> str:
    """Return the class of a verdict's colour."""
    return TONES.get(verdict, "open")


def text(value: str, length_max: int = 300) -> str:
    """Return text for a page: escaped, its control characters visible, cut to length_max characters."""
    cut = value if len(value) <= length_max else value[: length_max - 1] + "…"
    return escape(visible(cut), quote=True)


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    words: Sequence[str] = ("verdict", "label"),
) -> str:
    """Return a table.

    Args:
        heads: Column titles, plain text.
        rows: One cell per column, each of it HTML already.
        numbers: Titles of the columns that are aligned to the right.
        words: Titles of the columns that hold a word or two: they take no room from the others.
    """
    kinds = ["n" if head in numbers else "w" if head in words else "t" for head in heads]
    head = "".join(f'<th class="{kind}">{text(one)}</th>' for kind, one in zip(kinds, heads, strict=True))
    body = "\n".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{one}</td>' for kind, one in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def section(title: str, *parts: str) -> str:
    """Return a titled part of a page; empty where there is nothing in it."""
    inside = "\n".join(part for part in parts if part)
    return f"<section><h2>{text(title)}</h2>\n{inside}\n</section>\n" if inside else ""


def page(title: str, *parts: str) -> str:
    """Return a whole page.

    Args:
        title: Plain text.
        parts: HTML.
    """
    mark = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{mark}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "".join(parts)
        + "</body>\n</html>\n"
    )
