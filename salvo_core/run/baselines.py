"""Baselines: names that stand for runs, so that a comparison can say ``main`` where it means a run's id.

A baseline is one small object in the store. Setting it again replaces it whole (the last writer wins, and a
reader sees the old run or the new one); the run behind it is read from the store for as long as its objects
last, whatever Redis has forgotten.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from pydantic import field_validator

from salvo_core.errors import NotFound, ObjectCorrupt, ObjectMissing, UsageError
from salvo_core.identity import require_uuid7
from salvo_core.run.references import LATEST, looks_like_an_id
from salvo_core.store import keys
from salvo_core.store.protocol import Store
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen

SCHEMA = "salvo.baseline/1"
RESERVED = frozenset({LATEST, "previous", "none"})
"""Words that mean something else wherever a baseline may be named."""

LISTED_MAX = 1_000


class Baseline(Frozen):
    """A name and the run that it stands for."""

    name: str
    run_id: str
    set_at: datetime

    @field_validator("run_id")
    @classmethod
    def _uuid7(cls, value: str) -> str:
        return require_uuid7(value, "run id")


def require_name(name: str) -> str:
    """Return the name if a baseline may be called so.

    Raises:
        UsageError: It may not; the hint says what may.
    """
    if not keys.is_baseline_name(name):
        raise UsageError(
            f"{name[:80]!r} is no name for a baseline",
            hint="a name has up to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first: feature-x",
        )
    if name in RESERVED:
        raise UsageError(
            f"{name!r} means something else: a baseline cannot be called so", hint="such as main"
        )
    if looks_like_an_id(name):
        raise UsageError(
            f"{name!r} could be the beginning of a run's id: a baseline cannot be called so",
            hint=f"such as {name}.base",
        )
    return name


async def set_baseline(name: str, run_id: str, store: Store, *, at: datetime) -> Baseline:
    """Let a name stand for a run from now on, and return it; what it stood for is replaced.

    Args:
        name: As ``require_name``.
        run_id: Of a run that has ended.
        store: Where it is kept.
        at: The time.

    Raises:
        UsageError: The name cannot be used.
    """
    made = Baseline(name=require_name(name), run_id=run_id, set_at=at)
    body, _ = codec.encode(SCHEMA, made.model_dump(mode="json"), compress=False)
    await store.put(keys.baseline(name), body)
    return made


async def find_baseline(name: str, store: Store) -> Baseline | None:
    """Return the baseline of that name, None if there is none or none may be called so.

    Raises:
        ObjectCorrupt: What is stored of it is damaged.
    """
    if not keys.is_baseline_name(name) or name in RESERVED or looks_like_an_id(name):
        return None
    key = keys.baseline(name)
    try:
        stored = await store.get(key)
    except ObjectMissing:
        return None
    body = codec.decode(SCHEMA, stored, where=key)
    found = codec.validated(Baseline, body, where=key, what="a baseline")
    if found.name != name:
        raise ObjectCorrupt(f"{key} holds the baseline {found.name[:80]!r}", hint="set it again")
    return found


async def baseline(name: str, store: Store) -> Baseline:
    """Return the baseline of that name.

    Raises:
        NotFound: There is none.
        ObjectCorrupt: As ``find_baseline``.
    """
    found = await find_baseline(name, store)
    if found is None:
        raise NotFound(
            f"there is no baseline {name[:80]!r}",
            hint="`salvo baseline list` shows those there are; `salvo baseline set NAME RUN` makes one",
        )
    return found


async def baseline_names(store: Store) -> list[str]:
    """Return the names of all baselines in alphabetical order, LISTED_MAX at most."""
    found: list[str] = []
    async for key in store.list(keys.BASELINES):
        if (name := keys.parse_baseline(key)) is not None:
            found.append(name)
        if len(found) == LISTED_MAX:
            break
    return found


async def remove_baseline(name: str, store: Store) -> None:
    """Forget what a name stands for; the run stays as it is. A damaged baseline can be removed, too.

    Raises:
        NotFound: There is no such baseline.
    """
    with suppress(ObjectCorrupt):
        await baseline(name, store)
    await store.delete(keys.baseline(name))
