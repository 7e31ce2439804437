"""What one exchange can cost at worst, before it is sent: the figure that a budget sets aside.

Input is bounded by bytes: a token of every tokenizer in use stands for at least one byte of what is sent,
and what a provider adds of its own (roles, the preamble that explains tools) is allowed for. Output is
bounded by the cap that goes along with the request; where none does, by what the model can read and
write in all. An agent behind ``http``, or a team's own class, may spend behind our back, so what is sent
bounds nothing there: whoever runs it declares what one exchange takes at most, or nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from salvo_core.adapters.gate import Asking
from salvo_core.identity import canonical_json
from salvo_core.trace.model import Usage

ADDED_TOKENS_MAX = 1024
"""What providers add to a request themselves, at most."""

ADDED_TOKENS_A_MESSAGE_MAX = 16
OUTPUT_TOKENS_DEFAULT = 131_072
"""Assumed where neither the request nor the price list bounds the answer."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What one exchange takes at most with an agent that may spend behind our back, as its owner says.

    Attributes:
        cost_usd_max: US dollars; None if nobody says.
        tokens_max: Input and output; None if nobody says.
    """

    cost_usd_max: float | None = None
    tokens_max: int | None = None

    @property
    def anything(self) -> bool:
        """Whether it says anything."""
        return self.cost_usd_max is not None or self.tokens_max is not None


_CAPS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def worst_usage(asking: Asking, *, output_tokens_max: int | None) -> Usage:
    """Return the most tokens that an exchange can be billed.

    Args:
        asking: The exchange.
        output_tokens_max: Bound of the answer where the request itself has none; None if nobody knows one.
    """
    return Usage(input_tokens=_input_max(asking), output_tokens=_output_max(asking, output_tokens_max))


def _input_max(asking: Asking) -> int:
    bytes_sent = sum(len(message.model_dump_json(exclude_none=True).encode()) for message in asking.messages)
    for tool in asking.tools or ():
        bytes_sent += len(f"{tool.name}{tool.description}".encode()) + len(canonical_json(tool.parameters))
    extras = asking.config.extras
    bytes_sent += len(canonical_json(extras)) if extras else 0
    return bytes_sent + ADDED_TOKENS_MAX + ADDED_TOKENS_A_MESSAGE_MAX * len(asking.messages)


def _output_max(asking: Asking, output_tokens_max: int | None) -> int:
    extras = asking.config.extras
    # What the project states in extras goes into the request over our own fields.
    caps = [cap for cap in (_positive(extras.get(name)) for name in _CAPS) if cap]
    most = max(caps) if caps else asking.config.max_tokens or output_tokens_max or OUTPUT_TOKENS_DEFAULT
    return most * (_positive(extras.get("n")) or 1)


def _positive(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
