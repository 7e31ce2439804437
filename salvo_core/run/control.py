"""What a person commanded of a run after ordering it: kept beside the plan, where a rebuild finds it.

Redis is told, and workers act on that; but a Redis that loses its memory would let a cancelled run go on, or
a paused one, or one whose budget was raised fall back to the plan's. So each command is written down before
Redis is told of it, in objects that are numbered from 1 and written once each, like extensions. The last one
says all there is to say. A command whose caller died between the two has changed nothing that runs; it is
honoured when the run is rebuilt, and giving it again tells Redis.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from salvo_core.errors import ObjectCorrupt, ObjectMissing, StoreRefused, StoreUnavailable, UsageError
from salvo_core.manifest.budget import TOKENS_MAX, USD_MAX, Budget
from salvo_core.run.signature import Signer
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.control/1"
CONTROLS_MAX = 1000
"""Of one run; each costs one read when the next is given, and when the run is rebuilt."""

Wish = Literal["run", "pause", "cancel"]

logger = logging.getLogger(__name__)


class Control(Frozen):
    """All that was commanded of a run up to now."""

    model_config = ConfigDict(allow_inf_nan=False, defer_build=True)

    run_id: str
    number: int = Field(default=0, ge=0, le=CONTROLS_MAX)
    """Of the command, counted from 1; 0 where none was given."""
    wish: Wish = "run"
    """What is to become of its trials."""
    at_once: bool = False
    """Whether a cancelled run lets go of exchanges under way."""
    usd_max: float | None = Field(default=None, ge=0, le=USD_MAX)
    """What its budget was raised to; None where it was not."""
    tokens_max: int | None = Field(default=None, ge=0, le=TOKENS_MAX)
    signature: str = Field(default="", max_length=100)
    """As a plan's: of whoever gave the command."""

    def raised(self, budget: Budget | None) -> Budget | None:
        """Return a plan's budget as it was raised; a run that was ordered without one has none."""
        if budget is None:
            return None
        return budget.model_copy(
            update={
                "usd_max": _higher(budget.usd_max, self.usd_max),
                "tokens_max": _higher(budget.tokens_max, self.tokens_max),
            }
        )

    @property
    def header(self) -> Mapping[str, str | int]:
        """What a run's header says of it, beside the usual fields."""
        if self.wish == "pause":
            return {"state": "paused"}
        if self.wish == "cancel":
            return {"state": "cancelling", **({"at_once": 1} if self.at_once else {})}
        return {}

    def signed(self, signer: Signer) -> Control:
        """Return it with the site's signature."""
        return self.model_copy(update={"signature": signer.sign(SCHEMA, *self._signed_parts())})

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)[0]

    @classmethod
    def decode(cls, stored: bytes, where: str) -> Control:
        """Return what was stored.

        Args:
            stored: Bytes as read.
            where: Their key, for the error.

        Raises:
            ObjectCorrupt: Damaged, or something else.
        """
        return codec.validated(cls, codec.decode(SCHEMA, stored, where=where), where=where, what="a control")

    def is_of(self, signer: Signer) -> bool:
        """Tell whether somebody of the site gave it."""
        return signer.lack(self.signature, SCHEMA, *self._signed_parts()) is None

    def _signed_parts(self) -> tuple[str | int, ...]:
        limits = (repr(self.usd_max), repr(self.tokens_max))
        return (self.run_id, self.number, self.wish, int(self.at_once), *limits)


def _higher(planned: Any, raised: Any) -> Any:
    """Return the higher of two limits; what the plan does not limit stays without one."""
    return planned if planned is None or raised is None else max(planned, raised)


async def read_control(run_id: str, home: str, store: Store, signer: Signer) -> Control:
    """Return all that was commanded of a run; number 0 where nothing was.

    A command that is damaged, or that nobody of the site signed, is none: it is logged and passed over.

    Args:
        run_id: The run.
        home: Where it lies (``Plan.home``).
        store: Where commands lie.
        signer: Whose signature they must carry.
    """
    return (await _read(run_id, home, store, signer))[0]


async def command(run_id: str, home: str, store: Store, signer: Signer, **change: Any) -> Control:
    """Write down what a person commands; what was commanded already is not written again.

    Args:
        run_id: The run.
        home: Where it lies (``Plan.home``).
        store: Where commands lie.
        signer: Signs it.
        change: Fields of ``Control`` and what they shall be; limits are only ever raised.

    Raises:
        UsageError: Too much was commanded of this run.
        StoreUnavailable, StoreRefused: Nothing was written.
    """
    while True:
        last, number = await _read(run_id, home, store, signer)
        for limit in ("usd_max", "tokens_max"):
            if (had := getattr(last, limit)) is not None and change.get(limit) is not None:
                change[limit] = max(had, change[limit])
        wanted = last.model_copy(update={k: v for k, v in change.items() if v is not None})
        if wanted == last:
            return last
        if number >= CONTROLS_MAX:
            raise UsageError(
                f"run {run_id} was given {number:,} commands already", hint="`salvo cancel` still ends it"
            )
        wanted = wanted.model_copy(update={"number": number + 1}).signed(signer)
        if await store.put_if_absent(keys.control(run_id, number + 1, home), wanted.encode()):
            return wanted
        # Somebody was as quick as we are: theirs came first, ours is given on top of it.


async def note_command(run_id: str, home: str, store: Store, signer: Signer, **change: Any) -> None:
    """As ``command``, for commands that stop something: they hold although they cannot be written down."""
    try:
        await command(run_id, home, store, signer, **change)
    except (StoreUnavailable, StoreRefused, UsageError) as error:
        logger.warning(
            "run %s: the command is carried out, and not written down: if Redis loses its memory, it is "
            "forgotten: %s", run_id, error,
        )  # fmt: skip


async def _read(run_id: str, home: str, store: Store, signer: Signer) -> tuple[Control, int]:
    """Return all that was commanded, and how many objects say so."""
    found, number = Control(run_id=run_id), 0
    while number < CONTROLS_MAX:
        key = keys.control(run_id, number + 1, home)
        try:
            one = Control.decode(await store.get(key), key)
            if (one.run_id, one.number) != (run_id, number + 1):
                raise ObjectCorrupt(f"{key} holds a command of run {one.run_id[:40]}, number {one.number}")
            if one.is_of(signer):
                found = one
            else:
                logger.warning("%s is no command of this site: it is passed over", key)
        except ObjectMissing:
            break
        except ObjectCorrupt as error:
            logger.warning("a command is passed over: %s", error)
        number += 1
    return found, number
