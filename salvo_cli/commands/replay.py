"""``salvo replay``: what was recorded, shown again or put to another model."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json
from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.replay import NotReplayable
    from salvo_core.scenario.model import Scenario
    from salvo_core.trace.model import Trace
    from salvo_core.trial.comparison import Comparison

EPILOG = epilog(
    [
        "salvo replay                          the trial recorded last",
        "salvo replay latest                   the whole run, from its traces",
        "salvo replay 0199c2f4-7b1e-7000-8000-1d520a4be1f0 --step",
        "salvo replay $ID --against gpt-4.1    where does it go another way?",
        "salvo replay $ID --against gpt-4.1 --tools-only -y",
    ],
    "0 shown, whatever the verdict; nothing recorded yet; nothing diverged",
    "1 missing or damaged recording · with --against: it diverged",
    "3 with --against: the provider failed, or a limit ended the comparison",
    exits.SERVER_CODES + " · 130 not confirmed, or interrupted",
)
SCHEMA = "salvo.cli.replay/1"


@dataclass(frozen=True)
class _Asked:
    """What a person typed."""

    ref: str
    allow_partial: bool
    step: bool
    model: str
    adapter: str
    tools_only: bool
    yes: bool
    as_json: bool

    @property
    def live(self) -> bool:
        """Whether a model is to be asked."""
        return bool(self.model or self.adapter)

    def check(self) -> None:
        """Refuse options that say nothing together.

        Raises:
            UsageError: They do.
        """
        if self.step and (self.live or self.as_json):
            other = "--json" if self.as_json else "--against and --adapter"
            raise UsageError(f"--step cannot be combined with {other}", hint="give one of them")
        if self.live and self.allow_partial:
            raise UsageError("there is nothing to compare without the recording", hint="drop --allow-partial")
        if not self.live and (self.tools_only or self.yes):
            unused = "--tools-only" if self.tools_only else "-y"
            raise UsageError(f"{unused} goes with --against or --adapter", hint="no model is asked otherwise")


@dataclass(frozen=True)
class _Recorded:
    """A trial that was found; if a live model is to be asked, its scenario and what its run strikes out."""

    trace: Trace
    scenario: Scenario | None = None
    patterns: Sequence[str] = ()


def replay(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="TRACE_ID|RUN",
            help="A unique beginning will do; 'latest' is the newest run. Default: the trial recorded last.",
            show_default=False,
        ),
    ] = "",
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Warn of recordings that cannot be read, and show the rest."),
    ] = False,
    step: Annotated[bool, typer.Option("--step", help="One turn at a time: Enter goes on, q ends.")] = False,
    against: Annotated[
        str,
        typer.Option("--against", metavar="MODEL", help="Ask this model the same; stop where it differs."),
    ] = "",
    adapter: Annotated[
        str,
        typer.Option(
            "--adapter", metavar="NAME", help="Ask through this provider instead of the recorded one."
        ),
    ] = "",
    tools_only: Annotated[
        bool, typer.Option("--tools-only", help="A final answer in other words is no difference.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask the model without asking me.")] = False,
    as_json: Json = False,
) -> int:
    """Show a recorded trial or run again; no model is asked and nothing is sent.

    A run's report is made anew from its recorded traces. With --against or --adapter a live
    model hears the recorded tool results, which may cost money; nothing is recorded of it.
    """
    from salvo_cli.wiring import in_site

    asked = _Asked(ref.strip(), allow_partial, step, against, adapter, tools_only, yes, as_json)
    asked.check()

    async def act(site: Site) -> int | _Recorded:
        return await _read(site, asked)

    # What follows may wait for a person: by then the servers are let go.
    found = in_site(act)
    if isinstance(found, int):
        return found
    if found.scenario is not None:
        return _compare(asked, found.trace, found.scenario, found.patterns)
    return _show(asked, found.trace)


async def _read(site: Site, asked: _Asked) -> int | _Recorded:
    """Return the trial that is meant; a run is shown at once, and its exit code returned."""
    from salvo_core.replay import NotReplayable, Target, comparable, find, latest_recorded, replay_trial

    try:
        if asked.ref:
            target = await find(asked.ref, site.observer)
        elif last := await latest_recorded(site.observer):
            target = Target("trial", last)
        else:
            return _nothing_yet(asked)
        if target.kind == "run":
            return await _run(site, target.id, asked)
        trace = await replay_trial(target.id, site.observer)
        if not asked.live:
            return _Recorded(trace)
        plan = await site.observer.plan(trace.run_id)
        return _Recorded(trace, await comparable(trace, site.observer), plan.recording.patterns)
    except NotReplayable as error:
        if not (asked.allow_partial and error.skippable):
            raise
        return _nothing_readable(asked, error)


async def _run(site: Site, run_id: str, asked: _Asked) -> int:
    from salvo_cli.render.console import console, plain, print_json
    from salvo_cli.render.numbers import plural, short
    from salvo_cli.reporting import print_report, run_document
    from salvo_core.replay import replay_run

    if asked.step or asked.live:
        option = "--step" if asked.step else "--against"
        raise UsageError(
            f"{option} takes one trial, and {run_id} is a run",
            hint=f"`salvo trials {short(run_id)}` shows its trace ids",
        )
    found = await replay_run(run_id, site.observer, allow_partial=asked.allow_partial)
    for one in found.skipped:
        _warn(f"trial {one.index} ({one.trace_id}) is skipped: {one.reason}")
    if asked.as_json:
        skipped = [asdict(one) for one in found.skipped]
        document = run_document("replay", found.summary, found.summary.exit_code)
        print_json({**document, "traces": found.traces, "skipped": skipped})
        return exits.OK
    await print_report(site, found.summary)
    told = f"replayed from {plural(found.traces, 'recorded trace')}; no model was asked"
    console(stderr=True).print(plain(told, "dim"), soft_wrap=True)
    return exits.OK


def _nothing_yet(asked: _Asked) -> int:
    from salvo_cli.render.console import console, plain, print_json

    if asked.as_json:
        print_json({"schema": SCHEMA, "trace": None, "skipped": []})
    else:
        console().print(plain("nothing is recorded yet"))
    hint = "`salvo run PATH` makes a run; each of its trials is recorded when it ends"
    console(stderr=True).print(plain("hint: ", "bold") + plain(hint), soft_wrap=True)
    return exits.OK


def _nothing_readable(asked: _Asked, error: NotReplayable) -> int:
    from salvo_cli.render.console import print_json

    _warn(f"skipped {asked.ref or 'the trial recorded last'}: {error.message}")
    if asked.as_json:
        skipped = [{"index": None, "trace_id": asked.ref, "reason": error.message}]
        print_json({"schema": SCHEMA, "trace": None, "skipped": skipped})
    return exits.OK


def _warn(text: str) -> None:
    from salvo_cli.render.console import console, plain

    console(stderr=True).print(plain("warning: ", "bold yellow") + plain(text), soft_wrap=True)


def _show(asked: _Asked, trace: Trace) -> int:
    from salvo_cli.render.console import console, marks, print_json
    from salvo_cli.render.replay import pages, recording

    if asked.as_json:
        print_json({"schema": SCHEMA, "trace": trace.model_dump(mode="json"), "skipped": []})
        return exits.OK
    screen = console()
    signs = marks(screen)
    if asked.step:
        from salvo_cli.stepping import walk

        walk(pages(trace, signs=signs), screen, signs)
    else:
        screen.print(recording(trace, signs=signs))
    return exits.OK


def _compare(asked: _Asked, trace: Trace, scenario: Scenario, patterns: Sequence[str]) -> int:
    from salvo_cli.render.console import console, marks, print_json
    from salvo_cli.render.replay import comparison, comparison_document
    from salvo_cli.wiring import open_adapters, surroundings
    from salvo_core.run.verdict import EXIT_CODES
    from salvo_core.trial.comparison import calls_max

    model, name = asked.model or trace.model, asked.adapter or trace.adapter
    here = surroundings()
    adapters = open_adapters(here)
    adapter = adapters.get(name, scenario.script)
    backoff = adapters.backoff_for(name)
    # A script costs nothing and goes nowhere.
    if name != "scripted" and not asked.yes and not _agrees(trace, model, name, calls_max(trace, backoff)):
        console(stderr=True).print("nothing was sent")
        return exits.INTERRUPTED

    async def ask() -> Comparison:
        from salvo_core.clock import SystemClock
        from salvo_core.trace.redaction import Redactor
        from salvo_core.trial.comparison import Live, compare

        live = Live(
            adapter=adapter,
            model=model,
            backoff=backoff,
            price=lambda priced, usage: adapters.price_usd(name, priced, usage),
            # As the recording was redacted, or the same words would seem to differ.
            redactor=Redactor(adapters.known_secrets(), (*here.project.recorded.patterns, *patterns)),
            clock=SystemClock(),
        )
        try:
            return await compare(trace, scenario, live, answers=not asked.tools_only)
        finally:
            with suppress(Exception):  # a stranger's adapter may raise anything; the comparison stands
                await adapter.aclose()
            await adapters.aclose()

    found = asyncio.run(ask())
    code = exits.OK if found.divergence is None else EXIT_CODES["FAIL"]
    if not found.complete:
        code = EXIT_CODES["INFRA_ERROR"]
    who: dict[str, Any] = {"model": model, "adapter": name}
    if asked.as_json:
        print_json(comparison_document(trace, found, exit_code=code, **who))
    else:
        screen = console()
        screen.print(comparison(trace, found, signs=marks(screen), **who))
    return code


def _agrees(trace: Trace, model: str, adapter: str, calls: int) -> bool:
    """Ask whether to spend; True only if a person says so.

    Raises:
        UsageError: Nobody is there to ask.
    """
    from salvo_cli.render.console import one_line
    from salvo_cli.render.numbers import plural, usd

    whom = f"{one_line(model, 80)} via {one_line(adapter, 80)}"
    text = f"This makes at most {plural(calls, 'call')} to {whom} and may cost money"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{text[:1].lower()}{text[1:]}, and nobody can be asked here", hint="-y agrees to it"
        )
    then = f"; the recorded trial cost {usd(trace.cost_usd)}" if trace.cost_usd is not None else ""
    return typer.confirm(f"{text}{then}. Go on?", err=True)
