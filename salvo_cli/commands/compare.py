"""``salvo compare``: a run against a baseline, cell by cell, and a gate for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Html, Json
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.render.change import Sides
    from salvo_cli.wiring import Site
    from salvo_core.run.change import Demands, RunChange

EPILOG = epilog(
    [
        "salvo compare main                      the latest run against main",
        "salvo compare 0199c2f4 0199c5a1         the second against the first",
        "salvo compare main latest --gate -o junit.xml",
        "salvo compare main --gate --inconclusive pass --margin 0.1",
        "salvo compare main --markdown > comment.md",
        "salvo compare main --html compare.html",
    ],
    "0 compared, whatever it came to",
    "with --gate: 0 SAME or IMPROVED · 1 REGRESSED · 4 INCONCLUSIVE",
    exits.SERVER_CODES,
)

Baseline = Annotated[
    str,
    typer.Argument(metavar="BASELINE", help="What was: a baseline's name, a run, or a beginning of its id."),
]
Candidate = Annotated[
    str, typer.Argument(metavar="CANDIDATE", help="What is now: the same; the latest run by default.")
]
Margin = Annotated[
    float,
    typer.Option(
        "--margin", metavar="X", help="Smaller differences of a pass rate do not matter; between 0 and 1."
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        "--alpha",
        metavar="X",
        help="Chance of an alarm where nothing changed, for all cells and for the whole; between 0 and 0.5.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Compare also what was not asked or graded alike; say what differs.")
]
Gate = Annotated[bool, typer.Option("--gate", help="Exit by what the comparison comes to.")]
Inconclusive = Annotated[
    str | None,
    typer.Option(
        "--inconclusive",
        metavar="HOW",
        help="With --gate, where the trials cannot tell: pass exits 0, fail exits 4 [fail].",
    ),
]
Markdown = Annotated[
    bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment, instead.")
]
JUnit = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write JUnit XML, too: a test case for each cell."),
]


def compare(
    baseline: Baseline,
    candidate: Candidate = "latest",
    margin: Margin = 0.05,
    alpha: Alpha = 0.05,
    force: Force = False,
    gate: Gate = False,
    inconclusive: Inconclusive = None,
    markdown: Markdown = False,
    junit: JUnit = None,
    html: Html = None,
    as_json: Json = False,
) -> int:
    """Compare a run with a baseline: CANDIDATE against BASELINE, cell by cell and as a whole.

    The order is that of `git diff`: what was, then what is. A cell REGRESSED or IMPROVED if chance does not
    explain the difference and it is at least the margin; it is the SAME if a fall by the margin is ruled
    out; else it is INCONCLUSIVE, and more trials would tell. p is exact, one-sided, and a cell's is adjusted
    for the number of cells. Nothing is written in either run. On GitHub the step's summary and annotations
    are written, too.
    """
    from salvo_cli.wiring import in_site

    demands = _demands(margin, alpha)
    if inconclusive is not None and not gate:
        raise UsageError("--inconclusive says how --gate exits", hint="add --gate, or leave it out")
    if inconclusive not in (None, "pass", "fail"):
        raise UsageError(f"--inconclusive {inconclusive[:40]!r} is neither pass nor fail")
    if as_json and markdown:
        raise UsageError("--json and --markdown both print the whole answer", hint="leave one out")

    async def act(site: Site) -> int:
        from salvo_cli.comparison_files import tell_ci, write_junit

        found, sides = await _compared(site, candidate, baseline, demands, force=force)
        code = exit_code(found, inconclusive or "fail") if gate else exits.OK
        if junit is not None:
            write_junit(junit, found, sides, strict=code == exits.INCONCLUSIVE)
        if html is not None:
            await _write_page(site, html, found, sides)
        tell_ci(site.settings, found, sides, gated=gate and code != exits.OK)
        _print(found, sides, code, as_json=as_json, markdown=markdown)
        return code

    return in_site(act)


def _demands(margin: float, alpha: float) -> Demands:
    from salvo_core.run.change import Demands

    for option, value, most in (("--margin", margin, 1), ("--alpha", alpha, 0.5)):
        if not 0 < value < most:
            raise UsageError(
                f"{option} {value:g} is not between 0 and {most:g}",
                hint=f"the ends excluded, such as {option} 0.05",
            )
    return Demands(margin=margin, alpha=alpha)


async def _compared(
    site: Site, candidate: str, baseline: str, demands: Demands, *, force: bool
) -> tuple[RunChange, Sides]:
    """Return what changed, and what the two runs were called; a run that goes on is warned of."""
    from salvo_cli.render.change import Sides
    from salvo_cli.render.console import console, plain
    from salvo_core.compare import compare as compared
    from salvo_core.compare import resolve_side

    before, before_name = await resolve_side(baseline, site.observer)
    now, now_name = await resolve_side(candidate, site.observer)
    found = await compared(now, before, site.observer, demands, force=force)
    screen = console(stderr=True)
    for run_id in (now, before):
        if (state := (await site.observer.status(run_id)).state) != "sealed":
            told = f"warning: run {run_id} is {state}: it is compared as it stands"
            screen.print(plain(told, "yellow"), soft_wrap=True)
    return found, Sides(now_name.name if now_name else "", before_name.name if before_name else "")


async def _write_page(site: Site, output: str, found: RunChange, sides: Sides) -> None:
    from salvo_cli.comparison_files import write_text
    from salvo_cli.render.pages.change import change_page
    from salvo_core.history import RUNS_ON_A_PAGE, last_runs

    now = await site.observer.summary(found.run_id)
    before = await site.observer.summary(found.run_id_before)
    past = await last_runs(site.observer, RUNS_ON_A_PAGE)
    write_text(output, change_page(found, sides, now=now, before=before, past=past))


def _print(found: RunChange, sides: Sides, code: int, *, as_json: bool, markdown: bool) -> None:
    from salvo_cli.render.console import console, marks, print_json

    if as_json:
        print_json(document(found, sides, code))
    elif markdown:
        from salvo_cli.render.markdown import change_markdown

        # Never wrapped: what reads it counts a line's end as one.
        console(width=1_000_000).print(change_markdown(found, sides), end="", soft_wrap=True)
    else:
        from salvo_cli.render.change import change

        screen = console()
        screen.print(change(found, sides=sides, width=screen.width, signs=marks(screen)))


def exit_code(found: RunChange, inconclusive: str) -> int:
    """Return what a gate exits with.

    Args:
        found: What changed.
        inconclusive: ``pass`` or ``fail``: what it comes to where the trials cannot tell.
    """
    if found.verdict == "REGRESSED":
        return exits.REGRESSED
    return exits.INCONCLUSIVE if found.verdict == "INCONCLUSIVE" and inconclusive == "fail" else exits.OK


def document(found: RunChange, sides: Sides, code: int) -> dict[str, Any]:
    """Return the comparison for ``--json``."""
    return {
        "schema": "salvo.cli.compare/1",
        "candidate": {"run_id": found.run_id, "baseline_name": sides.candidate or None},
        "baseline": {"run_id": found.run_id_before, "baseline_name": sides.baseline or None},
        "verdict": found.verdict,
        "reason": found.reason,
        "exit_code": code,
        "change": found.model_dump(mode="json"),
    }
