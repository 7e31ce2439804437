"""What all workers together may ask of each provider: one limit per profile, kept in Redis.

Requests and tokens are let through evenly (GCRA): what is kept is the moment when the next is due, and
letting one through moves it on. Moments a little ahead are given out too, so that a worker asks once for
many. Tokens are an estimate until the answer says how many they were. Slots of exchanges under way are
counted by what each worker says it holds, and forgotten with a worker that has fallen silent.

"Too many requests" makes everybody wait as long as the provider asks, and cuts the rate once per episode;
then it grows again, steadily, until it is the stated one, or the provider says so again. Without a stated
limit and before the first such answer there is nothing in Redis. The first rate is a guess, of what was
answered by then, which may be nothing: it grows by half each second until it is refused, and halves then.

Two keys for each, ``salvo:limit:{<adapter>}`` (hash: ``lua/limit_acquire.lua`` says of what) and the same
with ``:workers``. Time is the server's.

Source:
    ITU-T I.371 (2004), Annex A: the generic cell rate algorithm, as virtual scheduling.
    RFC 5681 (2009), 3.1: slow start, and what is left of it at the first loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis

from salvo_core.adapters.profile import Allowance
from salvo_core.manifest.connection import translated

LIMITS = "salvo:limit"

_SCRIPTS = ("limit_acquire", "limit_exceeded")


@dataclass(frozen=True, slots=True)
class Terms:
    """How limits are kept.

    Attributes:
        ahead_s: How far ahead moments are given out.
        burst_s: What was left unused for so long may be caught up with at once.
        lease_s: A worker that has said nothing for so long holds no slots.
        poll_s_max: Longest time until a worker whose trials wait asks again.
        pause_s: How long nobody asks a provider that did not say for how long.
        pause_s_max: Most that it is believed.
        episode_s: What was let through so soon after a cut is no reason for another.
        factor: What is left of a rate when it is cut.
        growth: Share of the rate before the cut that comes back with each second.
        seeking_growth: What a rate that was guessed becomes in each second, until it is refused: a factor.
        seeking_factor: What is left of it then.
        soon_s: If that is refused so soon after it could be tried, it becomes what the provider had answered.
        per_min_least: No rate is cut below it, or below a tenth of the stated one.
        kept_s: What was learned is forgotten so long after the last refusal.
    """

    ahead_s: float = 0.25
    burst_s: float = 0.25
    lease_s: float = 15.0
    poll_s_max: float = 5.0
    pause_s: float = 1.0
    pause_s_max: float = 120.0
    episode_s: float = 2.0
    factor: float = 0.8
    growth: float = 0.01
    seeking_growth: float = 1.5
    seeking_factor: float = 0.5
    soon_s: float = 1.0
    per_min_least: float = 30.0
    kept_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a worker got.

    Attributes:
        delays_s: Of each exchange that may begin: how long from now.
        wait_s: Until it is worth asking for more.
        why: What keeps the others: ``requests``, ``tokens``, ``concurrency``, ``pause``; else empty.
        limited: Whether there is a limit at all.
    """

    delays_s: tuple[float, ...]
    wait_s: float
    why: str
    limited: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """Trials that wait for their turn with one provider, at one moment.

    Attributes:
        provider: Name of the adapter.
        waiting: Trials of all runs.
        runs: How many of each.
        why: As in ``Grant``.
        requests_per_min: As stated; None without.
        tokens_per_min: As stated.
        concurrency_max: As stated.
        learned_per_min: The rate that refusals have taught, below the stated one; None before the first.
        pause_s: How long the provider asks to be left alone yet.
    """

    provider: str
    waiting: int
    runs: Mapping[str, int]
    why: str
    requests_per_min: float | None
    tokens_per_min: float | None
    concurrency_max: int | None
    learned_per_min: float | None
    pause_s: float


class ProviderLimits:
    """The limits of all providers.

    Args:
        redis: As the manifest's.
        address: The server for people.
        terms: How they are kept.
    """

    def __init__(self, redis: Redis, address: str, terms: Terms | None = None) -> None:
        self._redis = redis
        self._address = address
        self.terms = terms or Terms()
        self._scripts = {name: redis.register_script(_text(name)) for name in _SCRIPTS}

    async def known(self, provider: str) -> bool:
        """Return whether anything is known of a provider's limits."""
        with translated(self._address):
            return bool(await self._redis.exists(_key(provider)))

    async def acquire(
        self,
        provider: str,
        worker: str,
        allowance: Allowance,
        tokens: Sequence[int],
        *,
        held: int = 0,
        waiting: Mapping[str, int] | None = None,
        waiting_else: Mapping[str, int] | None = None,
        settled_tokens: int = 0,
        unused: int = 0,
    ) -> Grant:
        """Let as many exchanges begin as may, in the order given, and say what this worker holds.

        Args:
            provider: Name of the adapter.
            worker: Who asks.
            allowance: What its project states.
            tokens: Of each exchange, as estimated; their number is what is asked for, and may be 0.
            held: Exchanges of this worker that are under way now.
            waiting: This worker's waiting trials by run, those that ask now included.
            waiting_else: The same without those.
            settled_tokens: What exchanges were billed beyond their estimate since this was last said;
                negative if it was less.
            unused: Exchanges let through since then that were not sent after all.
        """
        terms = self.terms
        limits = (allowance.requests_per_min, allowance.tokens_per_min, allowance.concurrency_max)
        why, wait_us, limited, *delays_us = await self._run(
            "limit_acquire", provider, worker, held, _told(waiting or {}), _told(waiting_else or {}),
            round(terms.lease_s * 1000), _us(terms.ahead_s), _us(terms.burst_s),
            *("" if limit is None else f"{limit:.12g}" for limit in limits),
            settled_tokens, unused, round(terms.kept_s * 1000), f"{terms.seeking_growth:.12g}", len(tokens),
            *(tokens if allowance.tokens_per_min is not None else ()),
        )  # fmt: skip
        if not limited:
            return Grant((0.0,) * len(tokens), 0.0, "", limited=False)
        wait_s = min(int(wait_us) / 1e6, terms.poll_s_max)
        return Grant(tuple(int(each) / 1e6 for each in delays_us), wait_s, why, limited=True)

    async def exceeded(
        self,
        provider: str,
        worker: str,
        allowance: Allowance,
        *,
        age_s: float,
        answered_per_min: float,
        retry_after_s: float | None = None,
        may_cut: bool = True,
    ) -> bool:
        """Note that a provider refused an exchange as one too many; return whether that cut the rate.

        Args:
            provider: Name of the adapter.
            worker: Whose exchange it was.
            allowance: What its project states.
            age_s: Since the exchange was let through.
            answered_per_min: What the worker had answered of late: where nothing is stated, the first rate
                is made of what all workers had answered.
            retry_after_s: What the provider asked for.
            may_cut: False for a probe, which finds out whether the provider is back.
        """
        pause_s = self.pause_s(retry_after_s)
        terms, stated = self.terms, allowance.requests_per_min
        return bool(
            await self._run(
                "limit_exceeded", provider, worker, _us(age_s), _us(pause_s), f"{answered_per_min:.6g}",
                "" if stated is None else f"{stated:.12g}", terms.factor, terms.growth, terms.per_min_least,
                int(may_cut), round(terms.kept_s * 1000), _us(terms.episode_s),
                terms.seeking_factor, _us(terms.soon_s),
            )
        )  # fmt: skip

    def pause_s(self, retry_after_s: float | None) -> float:
        """Return how long a provider is left alone that asked for so long, seconds."""
        return min(retry_after_s or self.terms.pause_s, self.terms.pause_s_max)

    async def leave(self, provider: str, worker: str) -> None:
        """Give back at once what a worker holds; it is leaving."""
        with translated(self._address):
            await self._redis.hdel(f"{_key(provider)}:workers", worker)

    async def queues(self, providers: Iterable[str]) -> list[Queue]:
        """Return who waits for which of the providers, by name; those that nobody waits for are left out."""
        names = sorted(set(providers))
        with translated(self._address):
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.hgetall(_key(name))
                pipe.hgetall(f"{_key(name)}:workers")
            pipe.time()
            *found, (seconds, micros) = await pipe.execute()
        now_s = seconds + micros / 1e6
        queues = [
            _queue(name, limit, workers, now_s)
            for name, limit, workers in zip(names, found[::2], found[1::2], strict=True)
        ]
        return [queue for queue in queues if queue.waiting]

    async def _run(self, script: str, provider: str, *arguments: Any) -> Any:
        key = _key(provider)
        keys = [key, f"{key}:workers"] if script == "limit_acquire" else [key]
        with translated(self._address):
            return await self._scripts[script](keys=keys, args=list(arguments))


def _queue(provider: str, limit: Mapping[str, str], workers: Mapping[str, str], now_s: float) -> Queue:
    waiting, runs = 0, dict[str, int]()
    for entry in workers.values():
        until_ms, _, _, count, *of_runs = entry.split(" ")
        if int(until_ms) / 1000 < now_s:
            continue
        waiting += int(count)
        for told in of_runs:
            run_id, _, number = told.rpartition("=")
            runs[run_id] = runs.get(run_id, 0) + int(number)
    concurrency_max = _number(limit, "concurrency_max")
    return Queue(
        provider=provider,
        waiting=waiting,
        runs=runs,
        why=limit.get("why", ""),
        requests_per_min=_number(limit, "requests_per_min"),
        tokens_per_min=_number(limit, "tokens_per_min"),
        concurrency_max=None if concurrency_max is None else int(concurrency_max),
        learned_per_min=_number(limit, "learned"),
        pause_s=max(0.0, (_number(limit, "pause_us") or 0.0) / 1e6 - now_s),
    )


def _number(fields: Mapping[str, str], name: str) -> float | None:
    return float(fields[name]) if fields.get(name) else None


def _told(waiting: Mapping[str, int]) -> str:
    return " ".join([str(sum(waiting.values())), *(f"{run}={count}" for run, count in waiting.items())])


def _key(provider: str) -> str:
    return f"{LIMITS}:{{{provider}}}"


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


@cache
def _text(name: str) -> str:
    return files("salvo_core.fleet").joinpath("lua", f"{name}.lua").read_text("utf-8")
