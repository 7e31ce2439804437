"""A schedule: what is ordered again and again, when, and which of its due times have been seen to.

A schedule lies in the store, so a Redis that loses its memory loses no nightly. Whatever became of a
due time is one object that is written once, under a name made of schedule and due time: two beats, or
one that died and came back, find the same object and go on with the run that it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AwareDatetime, ConfigDict, Field

from salvo_core.errors import ObjectMissing, UsageError
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.identity import canonical_json, digest
from salvo_core.manifest.budget import USD_MAX
from salvo_core.run.plan import CELLS_MAX, TRIALS_MAX
from salvo_core.run.signature import Signer
from salvo_core.scenario.notify import Destination
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen
from salvo_core.trace.recording import Recording

SCHEMA = "salvo.schedule/1"
FIRING_SCHEMA = "salvo.firing/1"
CATCHUP_S_MAX = 7 * 24 * 3600
LATE_S = 300
"""A due time that is seen to within so long is on time; what came later was missed."""
MISSED_MAX = 1_000
"""Missed due times that are counted."""
SKIPPED, MISSED = "skipped:", "missed:"
"""How it begins why a due time was not run."""
NOTIFY_MAX = 20
_AROUND_A_CHANGE = timedelta(hours=3)
_EVERY_FIELD = re.compile(r"\S+(\s+\S+){4}")

CONFIRM_TRIALS = 100
PREVIOUS, NOTHING = "previous", "none"
"""What a night may be measured by, besides a baseline: the nights before it, or nothing at all."""
ADDED_LATER = ("notify", "baseline", "confirm_trials", "confirm_budget_usd", "stored")

Overlap = Literal["skip", "queue", "cancel"]


class StoredScenario(Frozen):
    """One scenario that a schedule keeps in the store."""

    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    file: str = Field(default="", max_length=4_000)
    """Where it was read, for people."""


class Stored(Frozen):
    """What a schedule fires without a project's folder: everything a project says about a run."""

    scenarios: tuple[StoredScenario, ...] = Field(min_length=1, max_length=CELLS_MAX)
    recording: Recording = Recording.model_construct()  # what we say ourselves needs no checking
    judge: JudgeDefaults = JudgeDefaults.model_construct()
    commit: str = Field(default="", max_length=100)
    """Of the folder that they were read from; empty where there was none."""


class Schedule(Frozen):
    """What is ordered, and when."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    name: str = Field(pattern=keys.SCHEDULE_NAME)
    paths: tuple[str, ...] = Field(default=(), max_length=1000)
    """Relative to the project's folder; empty: its scenarios folder."""
    cron: str = Field(max_length=200)
    """Five fields."""
    timezone: str = Field(max_length=100)
    trials: int = Field(ge=1, le=TRIALS_MAX)
    models: tuple[str, ...] = Field(default=(), max_length=1000)
    budget_usd: float | None = Field(default=None, ge=0, le=USD_MAX)
    """What each of its runs may spend."""
    overlap: Overlap = "skip"
    """What becomes of a due time while the run before is not over: it is skipped, its run is queued
    behind the other, or the other is cancelled."""
    catchup_s: float = Field(default=0, ge=0, le=CATCHUP_S_MAX)
    """A due time that was missed by no more than this is still run."""
    notify: tuple[Destination, ...] = Field(default=(), max_length=NOTIFY_MAX)
    """Who is told what became of it: channels of whoever fires, or addresses that hold no secret."""
    since: AwareDatetime
    """No due time before this counts: when it was added, or resumed."""
    paused: bool = False
    baseline: str = Field(default=PREVIOUS, max_length=64)
    """What each night is measured by: a baseline's name, the nights before, or nothing."""
    confirm_trials: int = Field(default=CONFIRM_TRIALS, ge=0, le=TRIALS_MAX)
    """Fresh trials of each suspected cell; 0 orders none, and then no fall is told."""
    confirm_budget_usd: float | None = Field(default=None, ge=0, le=USD_MAX)
    """What such a run may spend; None: what any of its runs may."""
    stored: Stored | None = None
    """What is fired, where that is not the project's folder as it is at that time."""
    signature: str = Field(default="", max_length=100)

    def due_after(self, after: datetime) -> Iterator[datetime]:
        """Yield the due times after a moment, UTC, without end.

        Where the clocks change, a time of day that is left out is due at the change, and one that
        comes twice is due once; what is due in every hour of the day goes by real time.
        """
        # From a little before: a search that began inside a change of the clocks could miss one.
        start = (after - _AROUND_A_CHANGE).astimezone(ZoneInfo(self.timezone))
        for local in CronSim(_by_time_of_day(self.cron), start):
            if (at := local.astimezone(UTC)) > after:
                yield at

    def due(self, after: datetime, now: datetime) -> tuple[list[datetime], list[datetime]]:
        """Return (missed, to be run) of the due times after one moment and up to another, oldest first.

        Args:
            after: The newest due time that was seen to.
            now: The present.
        """
        last_missed = now - timedelta(seconds=max(self.catchup_s, LATE_S))
        missed = list(islice((at for at in self._until(after, last_missed)), MISSED_MAX))
        return missed, list(self._until(max(after, last_missed), now))

    def _until(self, after: datetime, end: datetime) -> Iterator[datetime]:
        for at in self.due_after(after):
            if at > end:
                return
            yield at

    def signed(self, signer: Signer) -> Schedule:
        """Return it with the site's signature."""
        return self.model_copy(update={"signature": signer.sign(SCHEMA, self._mark())})

    def is_of(self, signer: Signer) -> bool:
        """Tell whether somebody of the site wrote it."""
        return signer.lack(self.signature, SCHEMA, self._mark()) is None

    def _mark(self) -> str:
        # What came later is not signed where it says nothing: schedules of before carry a good signature.
        usual = {
            name for name in ADDED_LATER if getattr(self, name) == type(self).model_fields[name].get_default()
        }
        return digest(canonical_json(self.model_dump(mode="json", exclude={"signature", *usual})))

    def idempotency_key(self, due_at: datetime) -> str:
        """Return what makes its run for a due time one run, whoever orders it and however often."""
        return f"schedule {self.name} {keys.due_stamp(due_at)}"


def _by_time_of_day(cron: str) -> str:
    """Return an expression whose hours are restricted so that the library takes them as times of day.

    It steps through real hours where a field begins with a star, and so past ``5 */6 * * *`` on the
    morning after a change by half an hour (Australia/Lord_Howe). A range means the same and is not.
    """
    fields = cron.split()
    if len(fields) == 5 and fields[1] != "*":
        fields[:2] = (
            field.replace("*", full, 1) if field.startswith("*") else field
            for field, full in zip(fields, ("0-59", "0-23"), strict=False)
        )
    return " ".join(fields)


class CellName(Frozen):
    """A cell, whatever run it is in."""

    scenario_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    model: str


class Firing(Frozen):
    """What became of one due time."""

    schedule: str = Field(pattern=keys.SCHEDULE_NAME)
    due_at: AwareDatetime
    run_id: str = Field(default="", max_length=36)
    """Empty where nothing was run."""
    why: str = Field(default="", max_length=300)
    """Why nothing was run."""
    by_hand: bool = False
    trials: int | None = Field(default=None, ge=1, le=TRIALS_MAX)
    """What a person asked for instead of the schedule's."""
    confirms: str = Field(default="", max_length=36)
    """The run whose cells below are suspected, which fresh trials confirm or dismiss; empty: none such."""
    cells: tuple[CellName, ...] = Field(default=(), max_length=CELLS_MAX)

    @property
    def kind(self) -> keys.FiringKind:
        """Why it was ordered."""
        return "confirm" if self.confirms else "hand" if self.by_hand else "due"

    @property
    def fresh(self) -> bool:
        """Whether its trials were asked for beside the due times: they confirm a suspicion or dismiss it."""
        return self.kind != "due"


def check(schedule: Schedule) -> None:
    """Refuse a schedule that would never, or not at the times a person meant, be due.

    Raises:
        UsageError: Cron expression or timezone; says which.
    """
    try:
        ZoneInfo(schedule.timezone)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"{schedule.timezone[:80]!r} is no timezone that this machine knows",
            hint="a name such as Europe/Berlin or UTC; where the machine has no list: pip install tzdata",
        ) from None
    hint = 'five fields, such as "0 2 * * *": minute, hour, day of month, month, day of week'
    if not _EVERY_FIELD.fullmatch(schedule.cron.strip()):
        raise UsageError(f"{schedule.cron[:80]!r} is no cron expression", hint=hint)
    try:
        next(schedule.due_after(schedule.since))
    except CronSimError as error:
        raise UsageError(f"{schedule.cron[:80]!r} is no cron expression: {error}", hint=hint) from None
    except (StopIteration, RuntimeError):
        raise UsageError(f"{schedule.cron[:80]!r} is never due", hint=hint) from None


async def keep_schedule(schedule: Schedule, store: Store, signer: Signer) -> Schedule:
    """Store a schedule, signed, in the place of what its name stood for; return it."""
    signed = schedule.signed(signer)
    stored = codec.encode(SCHEMA, signed.model_dump(mode="json"), compress=False)[0]
    await store.put(keys.schedule(schedule.name), stored)
    return signed


async def read_schedule(name: str, store: Store, signer: Signer) -> Schedule:
    """Return a schedule by its name.

    Raises:
        UsageError: There is none, or nobody of the site wrote it.
        ObjectCorrupt: Damaged.
    """
    key = keys.schedule(name)
    try:
        stored = await store.get(key)
    except ObjectMissing:
        raise UsageError(
            f"there is no schedule {name!r} in {store.address}", hint="`salvo schedule list` shows all"
        ) from None
    schedule = codec.validated(
        Schedule, codec.decode(SCHEMA, stored, where=key), where=key, what="a schedule"
    )
    if schedule.name != name or not schedule.is_of(signer):
        raise UsageError(
            f"the schedule {name!r} does not carry this site's signature",
            hint="is SALVO_SIGNING_KEY the site's? then add the schedule again",
        )
    return schedule


async def schedule_names(store: Store) -> list[str]:
    """Return the names of all schedules, in order."""
    found = [keys.parse_schedule(key) async for key in store.list(keys.SCHEDULES)]
    return [name for name in found if name]


async def firing_keys(name: str, store: Store) -> list[str]:
    """Return where the firings of a schedule lie, oldest first; a confirmation after its night."""
    return sorted([key async for key in store.list(keys.firings(name))], key=keys.firing_place)


async def read_firing(key: str, store: Store) -> Firing:
    """Return what became of a due time.

    Raises:
        ObjectMissing: Nothing yet.
        ObjectCorrupt: Damaged.
    """
    body: Any = codec.decode(FIRING_SCHEMA, await store.get(key), where=key)
    return codec.validated(Firing, body, where=key, what="a firing")


async def note_firing(firing: Firing, store: Store) -> Firing:
    """Store what becomes of a due time unless that is settled; return what is settled."""
    key = keys.firing(firing.schedule, firing.due_at, firing.kind)
    stored = codec.encode(FIRING_SCHEMA, firing.model_dump(mode="json"), compress=False)[0]
    if await store.put_if_absent(key, stored):
        return firing
    return await read_firing(key, store)
