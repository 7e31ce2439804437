"""What a person's word for a run or a trial means: ``latest``, an id, or the beginning of one.

A trial's id leads to its run by the time stamp the two share, which is a prefix of the run's
folder; that of a trial carried over from another Salvo by its alias.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from salvo_core.errors import NotFound, ObjectMissing
from salvo_core.identity import is_uuid7, run_prefix
from salvo_core.manifest.keys import RUNS_KEPT
from salvo_core.manifest.live import Manifest
from salvo_core.run.aliases import aliased, run_of
from salvo_core.run.orders import Orders
from salvo_core.run.plan import Plan
from salvo_core.store import keys
from salvo_core.store.homes import stored_ids
from salvo_core.store.protocol import Store

LATEST = "latest"
CANDIDATES_SHOWN = 5
WHERE_TRACE_IDS_ARE = "`salvo trials RUN` shows the trace ids of a run"
_PREFIX = re.compile(r"[0-9a-f-]{4,36}")


def looks_like_an_id(word: str) -> bool:
    """Tell whether a word may be an id, or the beginning of one, and so cannot be a name for anything."""
    return bool(_PREFIX.fullmatch(word))


class References:
    """Finds runs and trials by what people call them.

    Args:
        store: Where all of them are.
        manifest: Where the newest are known.
        orders: What has been read of plans.
    """

    def __init__(self, store: Store, manifest: Manifest, orders: Orders) -> None:
        self._store = store
        self._manifest = manifest
        self._orders = orders

    async def run(self, ref: str) -> str:
        """Return the id of the run, or of the re-evaluation, that a person's word means.

        Args:
            ref: ``latest``, which is a run, or an id, or the beginning of exactly one.

        Raises:
            NotFound: No run, or more than one; the hint lists candidates.
        """
        if ref == LATEST:
            recent = await self._manifest.recent(1) or await stored_ids(self._store)
            if not recent:
                raise NotFound("there is no run yet", hint="`salvo run PATH` makes one")
            return recent[0]
        word = ref.strip().lower()
        if is_uuid7(word):
            return word
        if not _PREFIX.fullmatch(word):
            raise NotFound(
                f"{ref[:60]!r} is not a run",
                hint="give `latest`, a run id or at least four characters of one: see `salvo list`",
            )
        recent = [
            *await self._manifest.recent(RUNS_KEPT),
            *await self._manifest.recent(RUNS_KEPT, reevals=True),
        ]
        found = [run_id for run_id in recent if run_id.startswith(word)]
        if not found:
            found = [*await stored_ids(self._store, word), *await stored_ids(self._store, word, keys.REEVALS)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFound(f"no run id begins with {word!r}", hint="`salvo list` shows the runs there are")
        raise _ambiguous(word, f"{len(found)} run ids begin with", found)

    async def trial(self, ref: str) -> str:
        """Return the trace id that a person's word means.

        Ids of one run share their first 15 characters and sort by index: past them, a few
        more single out a trial, and the first 13 say which runs to look into.

        Args:
            ref: A trace id, or the beginning of exactly one.

        Raises:
            NotFound: No trial, or more than one; the hint lists candidates.
        """
        word = ref.strip().lower()
        if is_uuid7(word):
            return word
        if not _PREFIX.fullmatch(word):
            raise NotFound(f"{ref[:60]!r} is not a trace id", hint=WHERE_TRACE_IDS_ARE)
        run_ids = await stored_ids(self._store, run_prefix(word))
        if len(run_ids) > 1 and word == run_prefix(word):  # every trial of each of them begins so
            raise _ambiguous(word, "the trials of several runs begin with", run_ids)
        aliases = await aliased(word, CANDIDATES_SHOWN, self._store)
        others = [trace_id for trace_id in aliases if await self._aliased_place(trace_id)]
        firsts, count = list(others), len(others)
        for run_id in run_ids:
            plan = await self._plan_if_any(run_id)
            if plan is not None and plan.trace_ids is None:  # else its trials have aliases
                indices = plan.indices_of(word)
                count += len(indices)
                firsts += [plan.trace_id(index) for index in indices[:CANDIDATES_SHOWN]]
        if not count:
            raise NotFound(f"no trace id begins with {word!r}", hint=WHERE_TRACE_IDS_ARE)
        if count > 1:
            more = " or more" if len(aliases) == CANDIDATES_SHOWN else ""
            raise _ambiguous(word, f"{count:,}{more} trace ids begin with", firsts)
        return firsts[0]

    async def place_of(self, trace_id: str) -> tuple[str, int] | None:
        """Return the run and the index of the trial with that trace id, None if no run has one.

        Raises:
            NotFound: It is no trace id.
        """
        if not is_uuid7(trace_id):
            raise NotFound(f"{trace_id[:60]!r} is not a trace id", hint=WHERE_TRACE_IDS_ARE)
        for run_id in await stored_ids(self._store, run_prefix(trace_id)):
            if (place := await self._place_in(run_id, trace_id)) is not None:
                return place
        return await self._aliased_place(trace_id)

    async def _aliased_place(self, trace_id: str) -> tuple[str, int] | None:
        run_id = await run_of(trace_id, self._store)
        return await self._place_in(run_id, trace_id) if run_id else None

    async def _place_in(self, run_id: str, trace_id: str) -> tuple[str, int] | None:
        plan = await self._plan_if_any(run_id)
        index = None if plan is None else plan.index_of(trace_id)
        return None if index is None else (run_id, index)

    async def _plan_if_any(self, run_id: str) -> Plan | None:
        """Return a run's order; None for one that is being carried over, whose order comes last."""
        try:
            return await self._orders.plan(run_id)
        except ObjectMissing:
            return None


def _ambiguous(word: str, what: str, candidates: Sequence[str]) -> NotFound:
    shown = ", ".join(candidates[:CANDIDATES_SHOWN])
    return NotFound(f"{what} {word!r}", hint=f"give more of it: {shown}")
