"""What a schedule's nights of long ago come to, in one object: evidence, open incidents, open trouble.

Whoever works out where cells stand begins here and reads the nights after it alone. So evidence that began
a year ago still counts, an alert that nobody mended stands, and what is read of a schedule stays bounded.
The object may be lost: without it, the newest nights are read as if they were the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, ConfigDict, Field

from salvo_core.alerts.alert import Alert
from salvo_core.alerts.incident import CellEvent, Followed, open_incidents, open_trouble
from salvo_core.errors import ObjectMissing
from salvo_core.run.standings import FoldedCell
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.folded/1"


class Folded(Frozen):
    """Nights up to one, and what was decided after them."""

    model_config = ConfigDict(allow_inf_nan=False)

    schedule: str = Field(pattern=keys.SCHEDULE_NAME)
    due_at: AwareDatetime
    """Of the newest firing that is in it."""
    kind: keys.FiringKind
    """Of that firing."""
    firings: int = Field(ge=0)
    """How many are in it."""
    measured_by: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Mark of the rule and the baseline that its cells were measured by: by another, they say nothing."""
    cells: tuple[FoldedCell, ...]
    events: tuple[CellEvent, ...] = ()
    """Of incidents that are not over, oldest first."""
    trouble: Alert | None = None
    """That is not over."""

    @property
    def key(self) -> str:
        """The key of its newest firing."""
        return keys.firing(self.schedule, self.due_at, self.kind)

    def decided(self) -> Followed:
        """Return what is open, in the form of something decided: it stands before all that came after."""
        return Followed(
            schedule=self.schedule,
            due_at=self.due_at,
            kind="hand",  # no night: whether two were skipped in a row is for those after it to say
            at=self.due_at,
            events=self.events,
            alerts=(self.trouble,) if self.trouble else (),
        )

    def encode(self) -> bytes:
        """Return the bytes to store."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=True)[0]


def still_open(before: Sequence[Followed]) -> tuple[tuple[CellEvent, ...], Alert | None]:
    """Return the events of incidents that are not over, and the alert of a trouble that is not.

    Args:
        before: What was decided, oldest first.
    """
    incidents = {event.incident for event in open_incidents(before).values()}
    events = tuple(event for one in before for event in one.events if event.incident in incidents)
    trouble = open_trouble(before)
    alerts = [alert for one in before for alert in one.alerts if alert.kind == "trouble"]
    return events, next((one for one in reversed(alerts) if trouble and one.incident == trouble), None)


async def read_folded(name: str, store: Store) -> Folded | None:
    """Return what a schedule's nights of long ago come to; None while there are none.

    Raises:
        ObjectCorrupt: Damaged: what is open is not known then, and nothing is told on a guess.
    """
    key = keys.folded(name)
    try:
        stored = await store.get(key)
    except ObjectMissing:
        return None
    return codec.validated(
        Folded,
        codec.decode(SCHEMA, stored, where=key),
        where=key,
        what="what nights come to",
        hint="delete it, and the newest nights are read as if they were the first",
    )
