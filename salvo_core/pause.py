"""The door that holds a run up, and lets nothing be lost by it."""

from __future__ import annotations

from dataclasses import dataclass

from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.live import Manifest


@dataclass(frozen=True, slots=True)
class Paused:
    """What pausing came to, or would come to.

    Attributes:
        changed: False when the run was paused already, is being cancelled, or is over.
        state: The run's state now.
        running: Trials under way, which go on to their end.
        left: Trials that have not ended.
    """

    changed: bool
    state: str
    running: int
    left: int


async def pause(run_id: str, *, manifest: Manifest, dry_run: bool = False) -> Paused:
    """Begin no more trials of a run until it is resumed; what runs goes on to its end.

    One script: it is paused, or nothing has changed. Doing it again changes nothing.

    Args:
        run_id: The run.
        manifest: Where it is.
        dry_run: Only tell what would change.

    Raises:
        NotFound: There is no such run in Redis.
    """
    before = await manifest.counts(run_id)
    if dry_run:
        return _told(before, before.state in ("submitting", "running"))
    changed = await manifest.pause(run_id)
    return _told(await manifest.counts(run_id), changed)


def _told(counts: RunCounts, changed: bool) -> Paused:
    return Paused(changed, counts.state, counts.statuses["running"], counts.total - counts.ended)
