"""The only place that knows a path in the store.

::

    scenarios/<digest>.json
    runs/<run_id>/plan.json
    runs/<run_id>/extensions/<number>.json
    runs/<run_id>/controls/<number>.json         what was commanded of the run since
    runs/<run_id>/scenarios/<digest>.json        what stays of a scenario that is withheld
    orders/<run_id>/<digest>.json                the scenario itself, until its run is over
    runs/<run_id>/traces/<trace_id>.a<attempt>.json.zst
    runs/<run_id>/packs/<first>.<last>.<digest>.i<bytes>.json.zst    traces of a sealed run, in one object
    runs/<run_id>/manifest.json.zst
    runs/<run_id>/summary.json
    baselines/<name>.json        which run a name stands for, in comparisons
    aliases/<trace_id>.json      which run a trial of another Salvo belongs to: its id does not say so
    schedules/<name>.json        what is ordered again and again
    firings/<name>/<due>.json    what became of a due time, <due>.hand.json: of a person's word
    firings/<name>/<due>.confirm.json    the run of fresh trials that a night's suspicion asked for
    followed/<name>/<due>...json what was decided of a firing after its run; named as the firing is
    folded/<name>.json.zst       what a schedule's firings of long ago come to; they need not be read again
    alerts/<schedule>/<id>/<channel>.json    which channel was told of an alert, or how often that failed
    reevals/<reeval_id>/...      as under runs/: a re-evaluation is a run of its own kind

``home`` is RUNS or REEVALS, as the plan says (``Plan.home``). Ids come from outside (a message, a
command line), so each is checked to be what it claims before it becomes part of a path.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

from salvo_core.errors import UsageError
from salvo_core.identity import require_uuid7

RUNS = "runs/"
REEVALS = "reevals/"
HOMES = (RUNS, REEVALS)
ORDERS = "orders/"
ALIASES = "aliases/"
BASELINES = "baselines/"
SCHEDULES = "schedules/"
FIRINGS = "firings/"
FOLLOWED = "followed/"
FOLDED = "folded/"
ALERTS = "alerts/"
ALERT_ID = r"^[a-z0-9][a-z0-9._-]{0,99}$"
FiringKind = Literal["due", "confirm", "hand"]
"""Why a schedule's run was ordered: its time had come, a night was suspected, or a person asked."""
FollowedKind = Literal["failed", "stuck", "due", "confirm", "hand"]
"""As firings; ``failed``: a due time whose run cannot be ordered; ``stuck``: whose run does not end."""
_IN_ORDER = ("failed", "stuck", "", "confirm", "hand")
SCHEDULE_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TRY = re.compile(r"\.try([0-9]{3})\.json$")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BASELINE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BASELINE = re.compile(r"baselines/([a-z0-9][a-z0-9._-]{0,63})\.json")
_ALIAS_NAME = re.compile(r"aliases/([0-9a-f-]{36})\.json")
_TRACES = re.compile(r"((?:runs|reevals)/[0-9a-f-]{36}/)traces/")
_TRACE = re.compile(r"((?:runs|reevals)/[0-9a-f-]{36}/)traces/([0-9a-f-]{36}\.a\d{1,6}\.json\.zst)")
_TRACE_NAME = re.compile(r"([0-9a-f-]{36})\.a(\d{1,6})\.json\.zst$")


def home_of(*, reeval: bool) -> str:
    """Return the folder in which a run lies, or a re-evaluation."""
    return REEVALS if reeval else RUNS


def scenario(digest: str) -> str:
    """Return where the frozen scenario with that digest lies."""
    return f"scenarios/{_require_digest(digest)}.json"


def snapshot(run_id: str, digest: str, home: str = RUNS) -> str:
    """Return where a run keeps what may stay of a withheld scenario."""
    return f"{snapshots(run_id, home)}{_require_digest(digest)}.json"


def snapshots(run_id: str, home: str = RUNS) -> str:
    """Return the prefix under which all snapshots of a run lie."""
    return f"{_folder(run_id, home)}scenarios/"


def order(run_id: str, digest: str) -> str:
    """Return where a withheld scenario lies until its run is over."""
    return f"{orders(run_id)}{_require_digest(digest)}.json"


def orders(run_id: str) -> str:
    """Return the prefix under which all withheld scenarios of a run lie."""
    return f"{ORDERS}{require_uuid7(run_id, 'run id')}/"


def plan(run_id: str, home: str = RUNS) -> str:
    """Return where the run's order lies."""
    return f"{_folder(run_id, home)}plan.json"


def extension(run_id: str, number: int) -> str:
    """Return where the run's extension of that number lies, 1 and up."""
    return f"{_folder(run_id, RUNS)}extensions/{number:d}.json"


def control(run_id: str, number: int, home: str = RUNS) -> str:
    """Return where the command of that number lies that was given about the run, 1 and up."""
    return f"{_folder(run_id, home)}controls/{number:d}.json"


def trace(run_id: str, trace_id: str, attempt: int, home: str = RUNS) -> str:
    """Return where the given attempt at a trial puts its trace: two attempts never share a name (I1)."""
    return f"{traces(run_id, home)}{require_uuid7(trace_id, 'trace id')}.a{attempt:d}.json.zst"


def traces(run_id: str, home: str = RUNS) -> str:
    """Return the prefix under which all traces of the run lie."""
    return f"{_folder(run_id, home)}traces/"


def parse_trace(key: str) -> tuple[str, int] | None:
    """Return (trace id, attempt) of a trace's key, or None if it is no such key."""
    found = _TRACE_NAME.search(key)
    return (found[1], int(found[2])) if found else None


def trace_place(key: str) -> tuple[str, str] | None:
    """Return (prefix of the packs of its run, name in its folder) of a trace's key, or None if it is none.

    The name is what a pack calls the trace.
    """
    found = _TRACE.fullmatch(key)
    return (f"{found[1]}packs/", found[2]) if found else None


def packs_beside(prefix: str) -> tuple[str, str] | None:
    """Return (prefix of its packs, prefix of its traces) if prefix lies below one run's traces, else None."""
    found = _TRACES.match(prefix)
    return (f"{found[1]}packs/", found[0]) if found else None


def packs(run_id: str, home: str = RUNS) -> str:
    """Return the prefix under which all packs of the run lie."""
    return f"{_folder(run_id, home)}packs/"


def alias(trace_id: str) -> str:
    """Return where the run of a trial is named that another Salvo made."""
    return f"{ALIASES}{require_uuid7(trace_id, 'trace id')}.json"


def parse_alias(key: str) -> str | None:
    """Return the trace id of an alias's key, or None if it is no such key."""
    found = _ALIAS_NAME.fullmatch(key)
    return found[1] if found else None


def is_baseline_name(name: str) -> bool:
    """Tell whether a baseline may be called so: it is a file's name everywhere, and never a path."""
    return bool(_BASELINE_NAME.fullmatch(name))


def baseline(name: str) -> str:
    """Return where it is kept which run a baseline's name stands for."""
    if not is_baseline_name(name):
        raise UsageError(f"{name[:80]!r} is no name of a baseline")
    return f"{BASELINES}{name}.json"


def parse_baseline(key: str) -> str | None:
    """Return the name of a baseline's key, or None if it is no such key."""
    found = _BASELINE.fullmatch(key)
    return found[1] if found else None


def schedule(name: str) -> str:
    """Return where the schedule of that name lies."""
    return f"{SCHEDULES}{_require_schedule_name(name)}.json"


def parse_schedule(key: str) -> str | None:
    """Return the name in a schedule's key, or None if it is no such key."""
    name = key.removeprefix(SCHEDULES).removesuffix(".json")
    return name if re.fullmatch(SCHEDULE_NAME, name) and key == f"{SCHEDULES}{name}.json" else None


def firings(name: str) -> str:
    """Return the prefix under which lies what became of a schedule's due times; it sorts by time."""
    return f"{FIRINGS}{_require_schedule_name(name)}/"


def firing(name: str, due_at: datetime, kind: FiringKind = "due") -> str:
    """Return where it lies what became of a schedule's due time, of a person's word, of a confirmation."""
    return f"{firings(name)}{_firing_name(due_at, kind)}"


def followed(name: str, due_at: datetime, kind: FollowedKind = "due") -> str:
    """Return where it lies what was decided after the firing of that time and kind."""
    return f"{followeds(name)}{_firing_name(due_at, kind)}"


def followeds(name: str) -> str:
    """Return the prefix under which lies what was decided after a schedule's firings."""
    return f"{FOLLOWED}{_require_schedule_name(name)}/"


def folded(name: str) -> str:
    """Return where it lies what a schedule's firings of long ago come to."""
    return f"{FOLDED}{_require_schedule_name(name)}.json.zst"


def firing_place(key: str) -> tuple[str, int]:
    """Return what firings, or what was decided after them, are in order of time by.

    Of one due time, the confirmation comes after the night that asked for it.

    Args:
        key: Of either.
    """
    stamp, _, rest = key.rpartition("/")[2].removesuffix(".json").partition(".")
    return stamp, _IN_ORDER.index(rest) if rest in _IN_ORDER else len(_IN_ORDER)


def parse_firing(key: str) -> tuple[datetime, FiringKind]:
    """Return due time and kind of a firing's key.

    Raises:
        ValueError: Its name begins with no time.
    """
    stamp, _, rest = key.rpartition("/")[2].removesuffix(".json").partition(".")
    kind: FiringKind = "due" if not rest else "confirm" if rest == "confirm" else "hand"
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC), kind


def _firing_name(due_at: datetime, kind: FollowedKind) -> str:
    return f"{due_stamp(due_at)}{'' if kind == 'due' else f'.{kind}'}.json"


def due_stamp(due_at: datetime) -> str:
    """Return a due time as names carry it: UTC, to the second."""
    return due_at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def alert(schedule: str, alert_id: str) -> str:
    """Return the prefix under which lies who was told of an alert."""
    if not re.fullmatch(ALERT_ID, alert_id):
        raise UsageError(f"{alert_id[:80]!r} is no id of an alert")
    return f"{ALERTS}{_require_schedule_name(schedule)}/{alert_id}/"


def told(schedule: str, alert_id: str, channel: str) -> str:
    """Return where it lies that a channel was told of an alert."""
    return f"{tellings(schedule, alert_id, channel)}json"


def telling(schedule: str, alert_id: str, channel: str, number: int) -> str:
    """Return where the try of that number lies to tell a channel of an alert, 1 to 999."""
    return f"{tellings(schedule, alert_id, channel)}try{number:03d}.json"


def tellings(schedule: str, alert_id: str, channel: str) -> str:
    """Return the prefix under which all that lies of a channel and an alert; tries sort by number."""
    if not re.fullmatch(ALERT_ID, alert_id):
        raise UsageError(f"{alert_id[:80]!r} is no id of an alert")
    if not _CHANNEL_NAME.fullmatch(channel):
        raise UsageError(f"{channel[:80]!r} is no name of a channel")
    return f"{ALERTS}{_require_schedule_name(schedule)}/{alert_id}/{channel}."


def parse_telling(key: str) -> int | None:
    """Return the number of a try to tell, None of any other key."""
    found = _TRY.search(key)
    return int(found[1]) if found else None


def manifest(run_id: str, home: str = RUNS) -> str:
    """Return where the sealed rows lie."""
    return f"{_folder(run_id, home)}manifest.json.zst"


def summary(run_id: str, home: str = RUNS) -> str:
    """Return where the numbers that reports and lists read lie."""
    return f"{_folder(run_id, home)}summary.json"


def comparison(reeval_id: str) -> str:
    """Return where a re-evaluation keeps how its verdicts differ from those it looked at."""
    return f"{_folder(reeval_id, REEVALS)}comparison.json"


def _folder(run_id: str, home: str) -> str:
    if home not in (RUNS, REEVALS):
        raise ValueError(f"{home[:80]!r} is no home of runs")
    return f"{home}{require_uuid7(run_id, 'run id')}/"


def _require_schedule_name(name: str) -> str:
    if not re.fullmatch(SCHEDULE_NAME, name):
        raise UsageError(
            f"{name[:80]!r} is no name of a schedule",
            hint="up to 64 lower-case letters, digits, - and _, such as nightly",
        )
    return name


def _require_digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest[:80]!r} is not a scenario digest: 64 hexadecimal digits are expected")
    return digest
