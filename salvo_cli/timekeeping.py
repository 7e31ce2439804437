"""What the commands about schedules have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salvo_cli.wiring import open_adapters
from salvo_core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from salvo_cli.wiring import Site, Surroundings
    from salvo_core.alerts.delivery import Delivery
    from salvo_core.alerts.incident import Followed
    from salvo_core.fire import Beat
    from salvo_core.follow import Follower
    from salvo_core.run.schedule import Firing, Schedule

SCHEDULE_PRICES_HINT = (
    "add it under `prices:` in salvo.yaml (0 where it costs nothing), or leave the budget out"
)
_SPAN = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


def beat_of(site: Site) -> Beat:
    """Return a beat that fires what this project's schedules order."""
    from salvo_core.fire import Beat  # pydantic and YAML: `--help` does without
    from salvo_core.reorder import order_of

    project = site.here.project
    secrets = open_adapters(site.here).known_secrets()
    return Beat(
        site.store,
        site.manifest,
        site.dispatcher,
        site.clock,
        lambda schedule: order_of(schedule, project, secrets),
        lambda: secrets,
    )


def follower_of(site: Site, beat: Beat) -> Follower:
    """Return who does what comes after the runs that a beat fired, and tells this project's channels."""
    from salvo_core.follow import Follower, over_channels

    return Follower(beat, over_channels(site.here.project, site.settings, site.store, site.clock))


async def past_of(site: Site, name: str, last: int) -> list[tuple[Firing, str]]:
    """Return what became of a schedule's newest due times, oldest first, each with verdict or state.

    Args:
        site: Open.
        name: The schedule.
        last: Due times at most.
    """
    from salvo_core.run.schedule import firing_keys, read_firing

    past = []
    for key in (await firing_keys(name, site.store))[-last:]:
        firing = await read_firing(key, site.store)
        verdict = ""
        if firing.run_id:
            try:
                counts = await site.observer.status(firing.run_id)
                verdict = counts.verdict or counts.state
            except NotFound:
                verdict = "lost"
        past.append((firing, verdict))
    return past


async def told_of(site: Site, decided: Sequence[Followed]) -> dict[str, list[Delivery]]:
    """Return how far each channel is with each alert of what was decided, by the alert's id."""
    from salvo_core.alerts.delivery import deliveries

    return {alert.id: await deliveries(alert, site.store) for one in decided for alert in one.alerts}


async def made_schedule(site: Site, fields: dict[str, Any], *, from_store: bool) -> Schedule:
    """Return a schedule whose every part was looked at; what cannot be ordered or told now is said now.

    Args:
        site: Open.
        fields: Of the schedule.
        from_store: Whether it fires what the project's folder holds now; that is stored.

    Raises:
        UsageError: A part cannot be meant.
        ScenarioInvalid: A scenario is invalid.
    """
    from salvo_cli.ordering import require_prices
    from salvo_core.alerts.channels import channel_of
    from salvo_core.manifest.budget import Budget
    from salvo_core.reorder import kept_in_store, order_of
    from salvo_core.run.baselines import baseline
    from salvo_core.run.schedule import NOTHING, PREVIOUS, Schedule, check
    from salvo_core.store.keys import schedule as key_of

    key_of(fields["name"])  # says what is wrong with a name
    for channel in fields["notify"]:
        channel_of(channel, site.here.project, site.here.settings)  # one that is unknown is told now
    if fields["baseline"] not in (PREVIOUS, NOTHING):
        await baseline(fields["baseline"], site.store)
    made = Schedule(**fields)
    check(made)
    order = order_of(made, site.here.project, open_adapters(site.here).known_secrets())
    for limit_usd in {made.budget_usd, made.confirm_budget_usd} - {None}:
        # Or each night would find out anew that nobody can keep it.
        require_prices(site.here, replace(order, budget=Budget(usd_max=limit_usd)), SCHEDULE_PRICES_HINT)
    return await kept_in_store(made, order, site.store) if from_store else made


def in_project(path: Path, here: Surroundings) -> str:
    """Return a path that a person gave as the project's folder sees it.

    Raises:
        UsageError: It lies outside.
    """
    whole, root = path.resolve(), here.root.resolve()
    if not whole.is_relative_to(root):
        raise UsageError(
            f"{path} is not in the project {root}", hint="whoever fires reads scenarios from the project"
        )
    return whole.relative_to(root).as_posix()


def seconds(text: str, limit_s: int) -> float:
    """Return a span such as 90s, 30m, 6h or 2d, or "none", in seconds.

    Raises:
        UsageError: It is none, or longer than limit_s.
    """
    if text == "none":
        return 0
    found = _SPAN.fullmatch(text)
    if not found or (span_s := int(found[1]) * _UNIT_S[found[2]]) > limit_s:
        hint = f"a span such as 30m, 6h or 2d, up to {limit_s // 86400}d, or none"
        raise UsageError(f"{text[:40]!r} is no span to catch up", hint=hint)
    return span_s


def print_schedule(one: Schedule, now: datetime, *, as_json: bool) -> None:
    """Print a schedule and when it is due next."""
    from salvo_cli.render.console import console, print_json
    from salvo_cli.render.schedules import schedule_document, schedule_facts

    if as_json:
        print_json({"schema": "salvo.cli.schedule/1", **schedule_document(one, now)})
    else:
        console().print(schedule_facts(one, now))
