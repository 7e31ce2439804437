"""One circuit breaker per provider, shared by all workers: while a provider is away, only probes are sent.

``closed`` lets everything pass. A streak of failures of one kind, of several trials and without a success
in between, opens it; that the provider does not accept who we are opens it at once. While it is ``open``
nobody sends; when a probe is due, one trial is let through (``probing``), and its success closes the breaker,
its failure doubles the wait for the next. A prober that dies is replaced when its time is over.

Each breaker is a hash of its own, ``salvo:breaker:{<adapter>}``: state, kind, reason, opened_ms, due_ms,
prober, probes; while it is closed, the streak: failures, trials and a field per trial. It goes when a
provider answers, and forgets itself. Time is the server's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

from redis.asyncio import Redis

from salvo_core.adapters.profile import BreakerTerms
from salvo_core.manifest.connection import translated

BREAKERS = "salvo:breaker"
REASON_CHARS_MAX = 400

_SCRIPTS = ("breaker_enter", "breaker_failed", "breaker_worked", "breaker_due")


LEAVE_S = 5.0
"""How long whoever probed last leaves the next probe to others."""

LOOK_S = 0.05
"""How long a process believes that there is no trouble, for all its trials: of a breaker that other workers
opened it hears so much later. It was asked once a turn, and was four of a trial's questions to Redis."""

KEPT_S = 600.0
"""A breaker that nobody asks about for so long is forgotten."""

KEPT_REFUSED_S = 24 * 3600.0
"""The same, of a provider that does not accept who we are: its runs are paused."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A provider that may not be asked now.

    Attributes:
        due_s: To the next probe, or to the end of the one under way; seconds.
        state: ``open`` or ``probing``.
        kind: Of the failures that opened it.
        open_s: Since when, seconds ago.
        reason: What the provider said, for people.
    """

    due_s: float
    state: str
    kind: str
    open_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """A provider whose breaker is not closed, at one moment."""

    provider: str
    state: Literal["open", "probing"]
    kind: str
    reason: str
    open_s: float
    """Since when, seconds ago."""
    due_s: float
    """To the next probe, seconds; 0 while one is under way or due."""


class Breakers:
    """The breakers of all providers.

    Args:
        redis: As the manifest's.
        address: The server for people.
        terms_of: When the breaker of a provider opens and closes, in the eyes of who asks; who only looks
            needs none.
        leave_s: How long whoever probed last leaves the next probe to others.
        look_s: How long it is believed that there is no trouble.
    """

    def __init__(
        self,
        redis: Redis,
        address: str,
        terms_of: Callable[[str], BreakerTerms] = lambda _: BreakerTerms(),
        *,
        leave_s: float = LEAVE_S,
        look_s: float = LOOK_S,
    ) -> None:
        self._redis = redis
        self._address = address
        self._terms_of = terms_of
        self._leave_s = leave_s
        self._look_s = look_s
        self._scripts = {name: redis.register_script(_text(name)) for name in _SCRIPTS}
        self._troubled: dict[str, bool] = {}
        """Whether this process saw a breaker of that name, when it last looked; success is told only then."""
        self._well_until_s: dict[str, float] = {}
        """Until when there is believed to be no trouble, monotonic."""

    async def enter(self, provider: str, who: str) -> Literal["go", "probe"] | Wait:
        """Return whether a provider may be asked now.

        Args:
            provider: Name of the adapter.
            who: The trial's id. After ``probe`` it must say what came of it.
        """
        if time.monotonic() < self._well_until_s.get(provider, 0.0):
            return "go"
        key = _key(provider)
        with translated(self._address):
            state = cast(str | None, await self._redis.hget(key, "state"))
        self._troubled[provider] = state is not None
        if state is None:
            self._well_until_s[provider] = time.monotonic() + self._look_s
        if state in (None, "closed"):
            return "go"
        probe_s = self._terms_of(provider).probe_s
        reply = await self._run("breaker_enter", provider, who, _ms(probe_s), _ms(self._leave_s))
        if reply[0] != "wait":
            return cast(Literal["go", "probe"], reply[0])
        _, due_ms, now_state, kind, open_ms, reason = reply
        return Wait(int(due_ms) / 1000, now_state, kind or "", int(open_ms) / 1000, reason or "")

    async def failed(
        self, provider: str, who: str, kind: str, reason: str, *, probe: bool = False, at_once: bool = False
    ) -> str:
        """Note a failure; return the breaker's state now.

        Args:
            provider: Name of the adapter.
            who: The trial's id.
            kind: Of the error.
            reason: What was said, without secrets.
            probe: Whether ``enter`` let it pass as a probe.
            at_once: Whether one such failure is enough.
        """
        terms = self._terms_of(provider)
        self._troubled[provider] = True
        self._well_until_s.pop(provider, None)
        return str(
            await self._run(
                "breaker_failed", provider, who, kind, int(probe), int(at_once), reason[:REASON_CHARS_MAX],
                terms.failures, terms.trials, _ms(terms.window_s), _ms(terms.wait_first_s),
                _ms(terms.wait_s_max), _ms(KEPT_REFUSED_S if at_once else KEPT_S),
            )
        )  # fmt: skip

    async def worked(self, provider: str, who: str, *, probe: bool = False) -> None:
        """Note that the provider answered; costs nothing while it has no trouble."""
        if probe or self._troubled.get(provider):
            await self._run("breaker_worked", provider, who, int(probe))

    async def mended(self, providers: Iterable[str]) -> None:
        """Let the next probe of each be sent at once: somebody says that it is mended."""
        for provider in providers:
            await self._run("breaker_due", provider, "")

    async def leave(self, provider: str, who: str) -> None:
        """Give up a probe that was not sent, or whose end nobody saw: another trial makes it."""
        await self._run("breaker_due", provider, who)

    async def troubles(self, providers: Iterable[str] | None = None) -> list[Trouble]:
        """Return which providers are not to be asked now, by name.

        Args:
            providers: Whom to look at; None looks at all there are.
        """
        with translated(self._address):
            if providers is None:
                names = [key async for key in self._redis.scan_iter(f"{BREAKERS}:*", count=500)]
            else:
                names = [_key(provider) for provider in set(providers)]
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hgetall(name)
            pipe.time()
            *found, (seconds, micros) = await pipe.execute()
        now_ms = seconds * 1000 + micros // 1000
        return sorted(
            (
                _trouble(name, fields, now_ms)
                for name, fields in zip(names, found, strict=True)
                if fields.get("state") in ("open", "probing")
            ),
            key=lambda trouble: trouble.provider,
        )

    async def _run(self, script: str, provider: str, *arguments: Any) -> Any:
        with translated(self._address):
            return await self._scripts[script](keys=[_key(provider)], args=list(arguments))


def _trouble(key: str, fields: dict[str, str], now_ms: int) -> Trouble:
    state = cast(Literal["open", "probing"], fields["state"])
    due_ms = int(fields.get("due_ms", 0))
    return Trouble(
        provider=key.removeprefix(f"{BREAKERS}:").strip("{}"),
        state=state,
        kind=fields.get("kind", ""),
        reason=fields.get("reason", ""),
        open_s=max(0, now_ms - int(fields.get("opened_ms", now_ms))) / 1000,
        due_s=max(0, due_ms - now_ms) / 1000 if state == "open" else 0.0,
    )


def _key(provider: str) -> str:
    return f"{BREAKERS}:{{{provider}}}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@cache
def _text(name: str) -> str:
    return files("salvo_core.fleet").joinpath("lua", f"{name}.lua").read_text("utf-8")
