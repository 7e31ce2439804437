"""More trials for a run that was ordered already: what is written down of it, and the plan it comes to.

A plan is written once. That more was ordered later stands beside it, in objects that are numbered
from 1 and written once each; whoever reads the plan reads them too. Trials are numbered on, cells
interleaved as before, so nothing that was there changes its place or its trace id.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from salvo_core.errors import ObjectCorrupt, ObjectMissing, UsageError
from salvo_core.run.plan import TRIALS_MAX, Plan
from salvo_core.run.signature import UNSIGNED, Signer
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.extension/1"
EXTENSIONS_MAX = 1000
"""Of one run; each costs one read whenever its plan is read."""


class Extension(Frozen):
    """An order for more trials in each cell of a run."""

    run_id: str
    number: int = Field(ge=1, le=EXTENSIONS_MAX)
    trials: int = Field(ge=1, le=TRIALS_MAX)
    """Repetitions of each cell from now on, those that were ordered before included."""
    created_at: datetime
    signature: str = Field(default="", max_length=100)
    """As a plan's: of whoever ordered it."""

    def signed(self, signer: Signer) -> Extension:
        """Return it with the site's signature."""
        return self.model_copy(update={"signature": signer.sign(SCHEMA, *self._signed_parts())})

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return codec.encode(SCHEMA, self.model_dump(mode="json"), compress=False)[0]

    @classmethod
    def decode(cls, stored: bytes, where: str, signer: Signer) -> Extension:
        """Return the extension that was stored; arguments and errors as ``Plan.decode``."""
        body = codec.decode(SCHEMA, stored, where=where)
        found = codec.validated(cls, body, where=where, what="an extension")
        if lack := signer.lack(found.signature, SCHEMA, *found._signed_parts()):
            raise UsageError(
                f"{where} is not an order of this site: {lack}",
                hint="set SALVO_SIGNING_KEY where runs are extended to one of the keys of the workers",
            )
        return found

    def _signed_parts(self) -> tuple[str | int, ...]:
        return self.run_id, self.number, self.trials


async def extended(plan: Plan, store: Store, signer: Signer = UNSIGNED) -> tuple[Plan, int]:
    """Return the plan with all that was ordered later, and how many extensions that were.

    Args:
        plan: As it was first ordered.
        store: Where it lies.
        signer: Whose signature extensions must carry, for those who act on them.

    Raises:
        ObjectCorrupt: An extension is damaged, or of another run.
        UsageError: One was not signed, or with another key.
    """
    if plan.rescore is not None or plan.trace_ids is not None:
        return plan, 0  # neither can be extended
    number = 0
    while number < EXTENSIONS_MAX:
        key = keys.extension(plan.run_id, number + 1)
        try:
            one = Extension.decode(await store.get(key), key, signer)
        except ObjectMissing:
            break
        if (one.run_id, one.number) != (plan.run_id, number + 1):
            raise ObjectCorrupt(f"{key} holds an extension of run {one.run_id[:40]}, number {one.number}")
        plan = plan.model_copy(update={"trials": max(plan.trials, one.trials)})
        number += 1
    return plan, number
