"""Patience: a turn that did not come back is asked for again; the conversation never is.

What was paid for earlier turns is kept, and what failed exchanges were billed is
counted. Waits are drawn with full jitter, so that trials which failed together do not
come back together; a provider's Retry-After is waited out first.

Source:
    AWS Architecture Blog, "Exponential Backoff And Jitter" (full jitter), 2015.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from salvo_core.adapters.failures import failure_from_exception
from salvo_core.adapters.gate import OPEN_GATE, Asking, Barred, Gate, Price
from salvo_core.adapters.protocol import Adapter, ToolSpec, TurnConfig, TurnReply
from salvo_core.clock import Clock
from salvo_core.errors import ProviderError, SalvoError
from salvo_core.trace.model import ErrorKind, Message, Retry, TrialError, Usage


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often and how long to wait for a turn.

    Attributes:
        retries_max: Most exchanges after the first; 0 means one try.
        base_s: The wait before the first retry is drawn from 0 to this; each next range doubles.
        cap_s: Where the doubling ends.
        retry_after_max_s: Most that a provider's Retry-After is followed.
    """

    retries_max: int = 3
    base_s: float = 1.0
    cap_s: float = 30.0
    retry_after_max_s: float = 120.0

    def wait_s(self, retry: int, retry_after_s: float | None, rng: random.Random) -> float:
        """Return how long to wait before a retry, seconds.

        Args:
            retry: 0 for the first.
            retry_after_s: What the provider asked for; the drawn wait comes on top of it.
            rng: Where the draw comes from.
        """
        ceiling = min(self.base_s * 2.0 ** min(retry, 64), self.cap_s)
        return min(retry_after_s or 0.0, self.retry_after_max_s) + rng.uniform(0.0, ceiling)


@dataclass(frozen=True, slots=True)
class AnsweredTurn:
    """A turn that came back, and what it took.

    Attributes:
        reply: The turn.
        retries: The failed exchanges before it, oldest first.
        latency_s: Of the exchange that came back, seconds, without retries and waits.
        cost_usd: Of the turn and its failed exchanges, unrounded; None if the price is unknown.
    """

    reply: TurnReply
    retries: tuple[Retry, ...]
    latency_s: float
    cost_usd: float | None


class TurnFailed(SalvoError):
    """A turn did not come back: its error is not worth another try, or the tries are used up.

    Args:
        error: The last failure.
        retries: Every failed exchange of the turn, the last one included, oldest first.
        cost_usd: What they were billed, unrounded; None if that is not known.
    """

    def __init__(self, error: ProviderError, retries: tuple[Retry, ...], cost_usd: float | None) -> None:
        super().__init__(error.message, hint=error.hint)
        self.error = error
        self.retries = retries
        self.cost_usd = cost_usd

    @property
    def error_class(self) -> str:
        """The class that was raised first: a user's own, an HTTP library's, else ours."""
        return type(self.error.__cause__ or self.error).__name__

    def as_trial_error(self, turn: int) -> TrialError:
        """Return the failure as it stands in a trace.

        Args:
            turn: The one that did not come back, 0-based.
        """
        return TrialError(
            kind=cast(ErrorKind, self.error.kind),
            message=self.message,
            error_class=self.error_class,
            hint=self.hint,
            turn=turn,
            retries=self.retries,
        )


async def send_with_retries(
    adapter: Adapter,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec] | None,
    config: TurnConfig,
    *,
    backoff: Backoff,
    clock: Clock,
    rng: random.Random,
    price: Price,
    deadline_s: float | None = None,
    gate: Gate = OPEN_GATE,
) -> AnsweredTurn:
    """Return the model's next turn, asking again where that may help.

    Args:
        adapter: Whom to ask.
        messages: As ``Adapter.send_turn``; so are ``tools`` and ``config``.
        tools: See there.
        config: See there.
        backoff: How often and how long.
        clock: Measures and waits.
        rng: Draws the waits.
        price: Of one exchange.
        deadline_s: On ``clock.monotonic_s``'s scale. A wait that would pass it is not begun;
            ending an exchange that passes it is the caller's business. What the gate waits is added to it.
        gate: Asked before each exchange, and told what came of it.

    Raises:
        TurnFailed: With every failed exchange.
        Barred: The gate let no exchange pass any more; with every failed exchange before.
    """
    retries: list[Retry] = []
    asking = Asking(adapter.name, messages, tools, config, price)
    failed_s = 0.0
    try:
        while True:
            entry = await gate.enter(asking)
            deadline_s = None if deadline_s is None else deadline_s + entry.waited_s
            started_s = clock.monotonic_s()
            _note_wait(retries, started_s - failed_s)
            try:
                reply = await adapter.send_turn(messages, tools, config)
            except Exception as raised:  # wide on purpose: what an adapter let through is a failed exchange
                failed_s = clock.monotonic_s()
                error = failure_from_exception(raised)
                if error is not raised:
                    error.__cause__ = raised
            except BaseException:  # the trial's time is up, or its worker leaves
                gate.broken_off(entry)
                raise
            else:
                latency_s = max(clock.monotonic_s() - started_s, 0.0)
                cost = partial(_cost_usd, price, config, reply.model)
                await gate.answered(entry, reply.usage, partial(cost, [reply.usage]))
                spent = [*(retry.usage for retry in retries), reply.usage]
                return AnsweredTurn(reply, tuple(retries), latency_s, cost(spent))
            failed, cost = _failed_exchange(error), partial(_cost_usd, price, config, "")
            retries.append(failed)
            awaited = await gate.failed(entry, error, partial(cost, [failed.usage]))
            wait_s = 0.0 if awaited else backoff.wait_s(len(retries) - 1, error.retry_after_s, rng)
            in_time = awaited or deadline_s is None or clock.monotonic_s() + wait_s < deadline_s
            if not (error.retryable and len(retries) <= backoff.retries_max and in_time):
                raise TurnFailed(error, tuple(retries), cost([one.usage for one in retries])) from error
            await clock.sleep(wait_s)
    except Barred as bar:
        _note_wait(retries, clock.monotonic_s() - failed_s)
        bar.retries = tuple(retries)
        bar.cost_usd = _cost_usd(price, config, "", [retry.usage for retry in retries]) if retries else 0.0
        raise


def _note_wait(retries: list[Retry], waited_s: float) -> None:
    """Note what was waited after the last failure, wherever: here, before a breaker or at the turnstile."""
    if retries:
        retries[-1] = retries[-1].model_copy(update={"waited_s": round(waited_s, 6)})


def _failed_exchange(error: ProviderError) -> Retry:
    return Retry(
        kind=cast(ErrorKind, error.kind),
        message=error.message,
        status_code=error.status_code,
        usage=Usage(input_tokens=error.input_tokens, output_tokens=error.output_tokens),
    )


def _cost_usd(price: Price, config: TurnConfig, answered: str, spent: Sequence[Usage]) -> float | None:
    """The exchanges' price under the name asked for, else under the one that says it answered.

    An alias (``openrouter/auto``, a deployment's name) has no price, and the model
    behind it may have one.
    """
    for model in dict.fromkeys((config.model, answered)):
        amounts = [price(model, usage) for usage in spent] if model else []
        if amounts and None not in amounts:
            return sum(amount for amount in amounts if amount is not None)
    return None
