"""The only place that knows a Redis key of a run.

Every key of one run carries the same hash tag, so the scripts that touch several of
them work on Redis Cluster too. Keys that span runs are only used by single commands.

===============================  ======  =========================================================
``salvo:{run}:run``              hash    header: state, totals, release cursor, times, verdict
``salvo:{run}:manifest``         hash    the manifest: trial index -> row (``rows``)
``salvo:{run}:counters``         hash    what ``status`` reads: counts, tokens, cost, per cell too
``salvo:{run}:leases``           zset    index of a running trial -> when its lease ends, server ms
``salvo:{run}:strikes``          hash    index -> leases that ended without a word (crashes)
``salvo:{run}:suspects``         hash    trials whose workers vanished: see ``prelude.lua``
``salvo:{run}:again``            zset    trials that wait again, and for a place: see ``prelude.lua``
``salvo:{run}:journal:<index>``  list    completed turns of an unfinished trial, JSON each
``salvo:{run}:rebuilding``       string  which worker rebuilds the run now; expires with it
``salvo:{run}:votes:<index>``    hash    judges' votes on an unfinished trial: question:number -> JSON
``salvo:{run}:budget``           hash    limits, and what is spent and set aside: ``budget``
``salvo:{run}:reservations``     hash    exchange under way -> its worst nano_usd and tokens: ``ledger``
``salvo:runs``                   zset    run id -> created, ms; the newest RUNS_KEPT
``salvo:reevals``                zset    re-evaluation's id -> created, ms; the newest RUNS_KEPT
``salvo:open``                   zset    run id -> created, ms; runs and re-evaluations that are not sealed
``salvo:recorded``               zset    run id -> marked as recorded, ms; the newest RUNS_KEPT
``salvo:pulse``                  hash    when a worker was heard last; until when leases are left alone
``salvo:submission:<key>``       string  idempotency key -> run id
``salvo:sweeper``, ``salvo:beat``  string  who is elected now (``fleet.election``)
===============================  ======  =========================================================
"""

from __future__ import annotations

from functools import lru_cache

from salvo_core.errors import UsageError
from salvo_core.identity import require_uuid7

RUNS = "salvo:runs"
REEVALS = "salvo:reevals"
OPEN = "salvo:open"
RECORDED = "salvo:recorded"
PULSE = "salvo:pulse"
RUNS_KEPT = 10_000
IDEMPOTENCY_KEY_CHARS_MAX = 500


def header(run_id: str) -> str:
    """Return the key of the run's header."""
    return f"{_tag(run_id)}:run"


def manifest(run_id: str) -> str:
    """Return the key of the run's rows."""
    return f"{_tag(run_id)}:manifest"


def counters(run_id: str) -> str:
    """Return the key of the run's counters."""
    return f"{_tag(run_id)}:counters"


def leases(run_id: str) -> str:
    """Return the key of the run's leases."""
    return f"{_tag(run_id)}:leases"


def strikes(run_id: str) -> str:
    """Return the key of the run's strikes."""
    return f"{_tag(run_id)}:strikes"


def suspects(run_id: str) -> str:
    """Return the key of what is known of struck trials."""
    return f"{_tag(run_id)}:suspects"


def again(run_id: str) -> str:
    """Return the key of the trials that wait again, and whose messages wait for a place."""
    return f"{_tag(run_id)}:again"


def behind(run_id: str) -> list[str]:
    """Return the keys that scripts are given behind all others, in the order they expect."""
    return [again(run_id), suspects(run_id)]


def journal(run_id: str, index: int) -> str:
    """Return the key of one unfinished trial's turns."""
    return f"{_tag(run_id)}:journal:{index}"


def unfinished(run_id: str, index: int) -> list[str]:
    """Return the keys that only an unfinished trial has: they go when it ends."""
    return [journal(run_id, index), votes(run_id, index)]


def rebuilding(run_id: str) -> str:
    """Return the key that tells workers that one of them is rebuilding the run."""
    return f"{_tag(run_id)}:rebuilding"


def votes(run_id: str, index: int) -> str:
    """Return the key of what judges have said of one unfinished trial."""
    return f"{_tag(run_id)}:votes:{index}"


def budget(run_id: str) -> list[str]:
    """Return the keys of what the run may spend, and of what is set aside for exchanges under way."""
    return [f"{_tag(run_id)}:budget", f"{_tag(run_id)}:reservations"]


def submission(idempotency_key: str) -> str:
    """Return the key that remembers which run a submission became."""
    if not 0 < len(idempotency_key) <= IDEMPOTENCY_KEY_CHARS_MAX:
        raise UsageError(
            f"an idempotency key has 1 to {IDEMPOTENCY_KEY_CHARS_MAX} characters, "
            f"this one has {len(idempotency_key):,}"
        )
    return f"salvo:submission:{idempotency_key}"


def scripted(run_id: str) -> list[str]:
    """Return the KEYS that every script of a run is given, in the order the scripts expect."""
    return [header(run_id), manifest(run_id), counters(run_id), leases(run_id), strikes(run_id)]


@lru_cache(4096)  # asked for at every step of every trial
def _tag(run_id: str) -> str:
    """Return what all keys of a run begin with; an id that is none could leave the run's hash slot."""
    return f"salvo:{{{require_uuid7(run_id, 'run id')}}}"
