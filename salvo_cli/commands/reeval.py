"""``salvo reeval``: recorded trials judged again, by edited assertions, another threshold, a judge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import (
    AllowInfra,
    AllowUnpriced,
    BudgetTokens,
    BudgetUsd,
    Concurrency,
    Json,
    Quiet,
    Threshold,
)
from salvo_cli.telling import Telling
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_core.evaluation.judge.defaults import Judging

EPILOG = epilog(
    [
        "salvo reeval latest --scenario scenarios/     the edited assertions",
        "salvo reeval 0199c2f4 --threshold 0.9",
        "salvo reeval latest --judge-only --fresh-votes",
        "salvo reeval latest --fresh-votes --budget-usd 2",
        "salvo reeval $TRACE_ID                        one trial",
        "salvo list --reevals                          those there were",
    ],
    exits.VERDICT_CODES + " (the new one)",
    "1 also: no such recording, or it does not keep what is asked for",
    "1 also: with --strict-scenario, the agent was asked something else",
    "3 also: the one trial ended in an infrastructure error",
    exits.SERVER_CODES + " · 130 interrupted",
)


_Ref = Annotated[
    str,
    typer.Argument(metavar="TRACE_ID|RUN", help="A unique beginning will do; 'latest' is the newest run."),
]
_Scenarios = Annotated[
    list[Path] | None,
    typer.Option(
        "--scenario", "-s", metavar="PATH",
        help="Judge by these scenario files, or folders of them, instead of the recorded ones.",
    ),
]  # fmt: skip
_AllowPartial = Annotated[
    bool,
    typer.Option(
        "--allow-partial-reeval", help="Leave out assertions that a recording of metadata cannot answer."
    ),
]
_Strict = Annotated[
    bool,
    typer.Option(
        "--strict-scenario", help="Refuse scenarios that ask the agent something else than was recorded."
    ),
]
_JudgeOnly = Annotated[bool, typer.Option("--judge-only", help="Ask judges; let every other finding stand.")]
_NoJudge = Annotated[bool, typer.Option("--no-judge", help="Let judges' findings stand.")]
_FreshVotes = Annotated[
    bool, typer.Option("--fresh-votes", help="Have judges vote anew, and pay, where nothing changed.")
]


def reeval(
    ref: _Ref,
    scenarios: _Scenarios = None,
    threshold: Threshold = None,
    allow_partial: _AllowPartial = False,
    strict: _Strict = False,
    judge_only: _JudgeOnly = False,
    no_judge: _NoJudge = False,
    fresh_votes: _FreshVotes = False,
    concurrency: Concurrency = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    allow_unpriced: AllowUnpriced = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return at once; do not follow.")] = False,
    allow_infra: AllowInfra = False,
    more: Annotated[
        bool, typer.Option("--verbose", "-V", help="Name every flip, and add the whole report.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Judge recorded trials again; the agent is not asked, and the run stays as it is.

    By default by the recorded scenario and threshold: edit the file and give it with --scenario.
    Findings that did not change stand; judges' votes are used again for the same question. The new
    verdict is shown beside the old one, with the trials that flipped and why. A budget bounds what
    its judges cost; trials that it does not reach for are skipped.
    """
    from salvo_cli.ordering import budget_of
    from salvo_cli.render.console import console
    from salvo_cli.servers import Servers
    from salvo_cli.session import Session
    from salvo_cli.wiring import open_adapters, surroundings
    from salvo_core.reevaluate import Wish
    from salvo_core.scenario.loading import load_paths

    if no_judge and (judge_only or fresh_votes):
        other = "--judge-only" if judge_only else "--fresh-votes"
        raise UsageError(f"--no-judge cannot be combined with {other}", hint="give one of them")
    budget = budget_of(budget_usd, budget_tokens, allow_unpriced=allow_unpriced)
    if no_judge and budget is not None:
        raise UsageError("--no-judge asks nobody: there is nothing to bound", hint="leave the budget out")
    here = surroundings()
    judging: Judging = "only" if judge_only else "skip" if no_judge else "too"
    wish = Wish(
        ref,
        scenarios=load_paths(scenarios, project=here.project) if scenarios else (),
        threshold=threshold,
        judging=judging,
        fresh_votes=fresh_votes,
        allow_partial=allow_partial,
        strict=strict,
        judge=here.project.judge,
        concurrency_max=concurrency,
        budget=budget,
        secrets=open_adapters(here).known_secrets(),
    )
    with Servers(here) as servers:
        servers.begin_server()  # a worker is only worth starting once nothing is refused
        session = Session(
            here,
            servers,
            screen=None if quiet else console(stderr=True),
            telling=Telling(as_json=as_json, more=more),
            allow_infra=allow_infra,
        )
        return asyncio.run(session.reevaluate_and_follow(wish, "reeval", detach=detach))
