"""Looking back, as ``salvo history`` and ``salvo report --history`` do it: terminal, JSON, page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salvo_cli import exits
from salvo_cli.options import filter_words

if TYPE_CHECKING:
    from salvo_cli.wiring import Site
    from salvo_core.history import History


@dataclass(frozen=True, slots=True)
class Look:
    """What a person wants to see of the past.

    Attributes:
        last: Runs at most, the newest; 0 for all that one look back opens.
        scenario: As in ``history.chosen``.
        models: As there.
        schedule: Only what this schedule ordered; empty for all.
        failures_only: Hide runs that passed.
        html: Where to write a page, too; None for none.
        as_json: Print one document.
    """

    last: int
    scenario: str = ""
    models: Sequence[str] = ()
    schedule: str = ""
    failures_only: bool = False
    html: str | None = None
    as_json: bool = False

    @property
    def words(self) -> str:
        """What was asked for, as a person would say it; empty where everything was."""
        told = filter_words(self.scenario, list(self.models))
        return ", ".join(
            [*([told] if told else []), *([f"schedule {self.schedule!r}"] if self.schedule else [])]
        )


async def look_back(site: Site, look: Look) -> int:
    """Tell how the last runs went and return the exit code, which is 0 also where there was none.

    Raises:
        UsageError: The page cannot be written.
        StoreUnavailable, StoreRefused: As for any look at the store.
    """
    from salvo_cli.render.console import console, marks, plain, print_json
    from salvo_cli.render.history import history, history_document
    from salvo_core.history import LOOKED_AT_MAX, last_runs

    labels = {"schedule": look.schedule} if look.schedule else {}
    past = await last_runs(
        site.observer, look.last, scenario=look.scenario, models=look.models, labels=labels
    )
    told = console(stderr=True)
    for damaged in past.damaged:
        told.print(plain(f"warning: left out: {damaged.message}", "yellow"), soft_wrap=True)
    if past.cut_short:
        told.print(plain(f"warning: only the newest {LOOKED_AT_MAX:,} runs were looked at", "yellow"))
    if look.html is not None:
        _write_page(look, past)
    screen = console()
    if look.as_json:
        print_json(history_document(past, failures_only=look.failures_only))
    elif past.runs:
        now_ms = round(site.clock.now().timestamp() * 1000)
        screen.print(
            history(
                past,
                now_ms=now_ms,
                width=screen.width,
                signs=marks(screen),
                failures_only=look.failures_only,
            )
        )
    else:
        screen.print(plain(_nothing(look, past)), soft_wrap=True)
    return exits.OK


def _nothing(look: Look, past: History) -> str:
    which = f" with {look.words}" if look.words else ""
    if past.unsealed:
        hint = "`salvo status` shows a run that goes on"
    elif look.schedule:
        hint = "`salvo schedule list` shows schedules, `salvo schedule history NAME` what became of one"
    else:
        hint = "`salvo run PATH` makes one"
    return f"no run{which} has ended yet; {hint}"


def _write_page(look: Look, past: History) -> None:
    from salvo_cli.comparison_files import write_text
    from salvo_cli.render.pages.history import history_page

    assert look.html is not None
    write_text(look.html, history_page(past, look.words))
