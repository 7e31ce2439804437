"""The door that holds a run up, and lets nothing be lost by it."""

from __future__ import annotations

from dataclasses import dataclass

from salvo_core.manifest.counters import RunCounts
from salvo_core.manifest.live import Manifest
from salvo_core.run.control import note_command
from salvo_core.run.signature import Signer
from salvo_core.store.keys import home_of
from salvo_core.store.protocol import Store


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


async def pause(
    run_id: str, *, store: Store, manifest: Manifest, signer: Signer, dry_run: bool = False
) -> Paused:
    """Begin no more trials of a run until it is resumed; what runs goes on to its end.

    It is written down first, so that a run that Redis loses is rebuilt as a paused one; then one script
    pauses it, or nothing has changed. Doing it again changes nothing. A store that is away keeps nobody from
    pausing.

    Args:
        run_id: The run.
        store: Where it is written down.
        manifest: Where it is.
        signer: Signs what is written down.
        dry_run: Only tell what would change.

    Raises:
        NotFound: There is no such run in Redis.
    """
    before = await manifest.counts(run_id)
    goes_on = before.state in ("submitting", "running")
    if dry_run:
        return _told(before, goes_on)
    if goes_on or before.state == "paused":
        await note_command(run_id, home_of(reeval=before.reeval), store, signer, wish="pause")
    changed = await manifest.pause(run_id)
    return _told(await manifest.counts(run_id), changed)


def _told(counts: RunCounts, changed: bool) -> Paused:
    return Paused(changed, counts.state, counts.statuses["running"], counts.total - counts.ended)
