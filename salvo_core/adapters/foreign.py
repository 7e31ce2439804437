"""A team's own adapter class, made to look like one of ours.

The class has a constructor without arguments and ``async send_turn(messages,
tools=None, config=None)``. It is given our messages and config, read by attribute, and
tools that answer to both ``tool["name"]`` and ``tool.name``. What it returns is read by
attribute or by key: ``content``, ``tool_calls`` (each with ``id``, ``name``,
``arguments``), ``usage`` (``input_tokens`` and ``output_tokens``, or ``input`` and
``output``), ``finish_reason`` and ``model``. Whatever it raises becomes a
``ProviderError``. It runs on the worker's event loop: a call that blocks holds up
every other trial.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from salvo_core.adapters.failures import failure_from_exception
from salvo_core.adapters.protocol import ToolSpec, TurnConfig, TurnReply
from salvo_core.adapters.strict_json import read_arguments, text_or_empty, well_formed
from salvo_core.errors import ProviderError, ProviderPermanent
from salvo_core.identity import canonical_json
from salvo_core.trace.model import Message, ToolCall, Usage


class ForeignTool(dict[str, Any]):
    """A tool's definition: keys ``name``, ``description``, ``parameters``, which are attributes too."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


class ForeignAdapter:
    """An instance of somebody's class, behind our protocol.

    Args:
        name: Its dotted path.
        instance: Of a class whose ``send_turn`` is a coroutine function.
        secrets: Gives the values that no error may repeat, at the time of the error.
    """

    def __init__(
        self, name: str, instance: Any, *, secrets: Callable[[], frozenset[str]] = frozenset
    ) -> None:
        self.name = name
        self._instance = instance
        self._secrets = secrets

    async def send_turn(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] | None, config: TurnConfig
    ) -> TurnReply:
        """Return the class's next turn; see ``Adapter.send_turn``."""
        given = [
            ForeignTool(name=tool.name, description=tool.description, parameters=tool.parameters)
            for tool in tools or ()
        ]
        try:
            answer = await self._instance.send_turn(list(messages), given or None, config)
            return _reply(self.name, answer, config.turn)
        except ProviderError:
            raise
        except Exception as error:  # wide on purpose: any class of anybody's may come out of there
            raise failure_from_exception(error, self._secrets()) from error

    async def aclose(self) -> None:
        """Close the instance, if it has an ``aclose`` or a ``close`` without arguments."""
        close = getattr(self._instance, "aclose", None) or getattr(self._instance, "close", None)
        if callable(close):
            closing = close()
            if inspect.isawaitable(closing):
                await closing


def _reply(name: str, answer: object, turn: int) -> TurnReply:
    if not (_has(answer, "content") or _has(answer, "tool_calls")):
        raise ProviderPermanent(
            f"{name}.send_turn returned a {type(answer).__name__} with neither content nor tool_calls",
            hint="Return an object with content, tool_calls, usage and finish_reason.",
        )
    content = _read(answer, "content")
    if not isinstance(content, str | None):
        raise ProviderPermanent(
            f"{name}.send_turn returned content of type {type(content).__name__}, not text"
        )
    usage = _read(answer, "usage")
    return TurnReply(
        content=None if content is None else well_formed(content),
        tool_calls=tuple(_call(raw, turn, n) for n, raw in enumerate(_read(answer, "tool_calls") or ())),
        usage=Usage(
            input_tokens=_read(usage, "input_tokens", "input") or 0,
            output_tokens=_read(usage, "output_tokens", "output") or 0,
        ),
        finish_reason=text_or_empty(_read(answer, "finish_reason")),
        model=text_or_empty(_read(answer, "model")),
    )


def _call(raw: object, turn: int, number: int) -> ToolCall:
    arguments, malformed = read_arguments(_read(raw, "arguments"))
    canonical_json(arguments)  # raises here, beside its cause, what could not be journaled later
    call_id = text_or_empty(_read(raw, "id")) or f"call_{turn}_{number}"
    return ToolCall(
        id=call_id, name=text_or_empty(_read(raw, "name")), arguments=arguments, malformed=malformed
    )


def _has(holder: object, name: str) -> bool:
    return name in holder if isinstance(holder, Mapping) else hasattr(holder, name)


def _read(holder: object, *names: str) -> Any:
    """The first of the names that holder has, by key or by attribute; None if it has none of them."""
    for name in names:
        if _has(holder, name):
            return holder[name] if isinstance(holder, Mapping) else getattr(holder, name)
    return None
