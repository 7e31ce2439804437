"""``salvo report``: what a run came to, and how the last runs went."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.looking_back import Look, look_back
from salvo_cli.options import (
    Details,
    Exact,
    Html,
    Json,
    Legacy,
    ModelsShown,
    Run,
    ScenarioShown,
    TriesShown,
    filter_words,
    tries_of,
)
from salvo_core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from salvo_cli.render.part import Part
    from salvo_cli.wiring import Site
    from salvo_core.run.plan import Plan
    from salvo_core.run.summary import Summary

EPILOG = epilog(
    [
        "salvo report",
        "salvo report 0199c2f4 --failures",
        "salvo report latest --scenario refund --model gpt-4o",
        "salvo report latest --k 3,5 --exact      pass@3, pass^5, exact intervals",
        "salvo report latest --json > summary.json",
        "salvo report --history                   as `salvo history`, which can more",
        "salvo report latest --html report.html   a page with plots",
        "salvo report latest --legacy             the first Salvo's JSON",
    ],
    "0 shown, whatever the verdict: `salvo wait` exits by it",
    "  also when there is no run yet, or nothing matches a filter",
    "64 usage, also a run that does not exist · 65 its summary is damaged",
    "69 Redis or store unavailable",
)
HISTORY_SHOWN = 10


def report(
    run: Run = "latest",
    failures: Annotated[
        bool,
        typer.Option(
            "--failures", help="Only what failed, all of it; with --history, hide runs that passed."
        ),
    ] = False,
    scenario: ScenarioShown = "",
    models: ModelsShown = None,
    history: Annotated[
        bool, typer.Option("--history", help="The last runs, as `salvo history` shows them.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-l",
            min=0,
            metavar="N",
            help=f"With --history: runs at most, 0 for the last 1,000 [{HISTORY_SHOWN}].",
        ),
    ] = None,
    more: Details = False,
    tries: TriesShown = None,
    exact: Exact = False,
    legacy: Legacy = False,
    html: Html = None,
    as_json: Json = False,
) -> int:
    """Report a run: verdict and reason, each cell in numbers, what failed most.

    A run that has not ended is reported as it stands. A run that has is read from its
    summary alone, however many trials it had. On GitHub the step's summary and annotations are written,
    too.
    """
    from salvo_cli.wiring import in_site

    asked = _asked(tries, exact, about_one=not (history or legacy))
    if history:
        _refuse_beside_history(run, more=more, legacy=legacy)
    elif limit is not None:
        raise UsageError("--limit says how many runs --history shows", hint="add --history, or leave it out")
    if legacy and (failures or more):
        raise UsageError("--legacy prints one whole document", hint="leave out --failures and --verbose")

    async def act(site: Site) -> int:
        if history:
            most = HISTORY_SHOWN if limit is None else limit
            look = Look(most, scenario, models or [], failures_only=failures, html=html, as_json=as_json)
            return await look_back(site, look)
        try:
            run_id = await site.observer.resolve(run)
        except NotFound as error:
            if run != "latest":
                raise
            return _nothing(error.message, error.hint, "report", as_json=as_json or legacy)
        summary = await site.observer.summary(run_id)
        if summary.state == "sealed" and not legacy and await site.observer.is_reeval(run_id):
            await _leave_beside(site, html, summary, None, asked)
            plan = await site.observer.plan(run_id)
            return await _reevaluation(site, plan, summary, more=more, as_json=as_json)
        meant = _Meant.of(summary, scenario, models or [], failures=failures)
        await _leave_beside(site, html, summary, meant.part, asked)
        return await _report(site, summary, meant, more=more, legacy=legacy, as_json=as_json, asked=asked)

    return in_site(act)


def _asked(tries: str | None, exact: bool, *, about_one: bool) -> dict[str, Any]:
    """Return which tries and intervals a report is to show, by the names of ``render.report``."""
    ks = tries_of(tries)
    if (ks or exact) and not about_one:
        raise UsageError(
            "--k and --exact are about the report of one run", hint="leave out --history and --legacy"
        )
    return {"exact": exact} | ({"tries": ks} if ks else {})


def _refuse_beside_history(run: str, *, more: bool, legacy: bool) -> None:
    if run != "latest" or more or legacy:
        given = "a run" if run != "latest" else "--verbose" if more else "--legacy"
        raise UsageError(
            f"--history is about several runs, {given} about one",
            hint="`salvo history --scenario NAME` narrows it",
        )


@dataclass(frozen=True)
class _Meant:
    """What of a run a person asked to see.

    Attributes:
        cells: Places of the cells that the filters name.
        part: What documents and pages hold: of these cells, with ``--failures``, those that failed.
        words: The filters, for people.
        failures: Whether only failures are meant.
    """

    cells: list[int]
    part: Part | None
    words: str
    failures: bool

    @classmethod
    def of(cls, summary: Summary, scenario: str, models: list[str], *, failures: bool) -> _Meant:
        from salvo_cli.render.part import part_by
        from salvo_core.history import chosen

        cells = chosen(summary.cells, scenario, models)
        shown = [place for place in cells if not failures or _troubled(summary, place)]
        part = part_by(shown, summary, scenario, models, failures=failures)
        return cls(cells, part, filter_words(scenario, models), failures)

    def on_screen(self, summary: Summary) -> Part | None:
        """Return what a terminal's report is of; with ``--failures`` it names none that did not fail."""
        if self.part is None or len(self.cells) == len(summary.cells):
            return None
        return replace(self.part, places=tuple(self.cells))


async def _leave_beside(
    site: Site, html: str | None, summary: Summary, part: Part | None, asked: dict[str, Any]
) -> None:
    """Write the page, if one is wanted, and tell GitHub, if it is there; of the same cells."""
    from salvo_cli.workflow import tell_of_run

    tell_of_run(site.settings, summary, failing=False, part=part)
    if html is None:
        return
    from salvo_cli.comparison_files import write_text
    from salvo_cli.render.pages.run import run_page
    from salvo_core.history import RUNS_ON_A_PAGE, last_runs

    past = await last_runs(site.observer, RUNS_ON_A_PAGE)
    write_text(html, run_page(summary, past, part=part, **asked))


def _nothing(message: str, hint: str, command: str, *, as_json: bool) -> int:
    from salvo_cli.render.console import console, plain, print_json

    if as_json:
        print_json({"schema": f"salvo.cli.{command}/1", "run_id": None, "message": message, "hint": hint})
    else:
        console().print(plain(f"{message}; {hint}" if hint else message), soft_wrap=True)
    return exits.OK


async def _report(
    site: Site,
    summary: Summary,
    meant: _Meant,
    *,
    more: bool,
    legacy: bool,
    as_json: bool,
    asked: dict[str, Any],
) -> int:
    from salvo_cli.render.console import print_json
    from salvo_cli.reporting import legacy_document, only_cell, print_report, run_document

    if legacy and meant.cells:
        print_json(await legacy_document(site, summary, only_cell(meant.cells, summary)))
    elif as_json:
        document = run_document("report", summary, summary.exit_code, part=meant.part, **asked)
        by = meant.part.by if meant.part else ""
        print_json(document | {"cells_total": len(summary.cells), "cells_by": by})
    elif meant.cells:
        part = meant.on_screen(summary)
        await print_report(site, summary, part=part, failures_only=meant.failures, more=more, **asked)
    else:
        names = sorted({f"{cell.scenario_name[:60]} ({cell.model[:40]})" for cell in summary.cells})
        message = f"no cell of run {summary.run_id} has {meant.words}"
        return _nothing(message, f"it has {', '.join(names[:10])}", "report", as_json=legacy)
    return exits.OK


async def _reevaluation(site: Site, plan: Plan, summary: Summary, *, more: bool, as_json: bool) -> int:
    """Show how a re-evaluation differs from what it looked at, from what is stored of it."""
    from salvo_cli.reporting import tell_reevaluation
    from salvo_cli.telling import Telling

    telling = Telling(as_json=as_json, more=more)
    await tell_reevaluation(site, plan, summary, summary.exit_code, "report", telling)
    return exits.OK


def _troubled(summary: Summary, place: int) -> bool:
    cell = summary.cells[place]
    return cell.verdict != "PASS" or bool(cell.failures or cell.infra_errors)
