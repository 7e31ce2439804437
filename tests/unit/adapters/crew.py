"""Adapter classes as a team writes them, good and bad, for the registry to import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SECRET = "sk-of-the-crew-0123456789"


@dataclass
class Call:
    id: str
    name: str
    arguments: Any


@dataclass
class Tokens:
    input: int
    output: int
    total: int = 0


@dataclass
class Result:
    """The predecessor's result, field for field."""

    content: str | None
    tool_calls: list[Call] = field(default_factory=list)
    usage: Tokens | None = None
    raw_response: dict[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"


class Echo:
    """Says what it was given; keeps count, as a class with state would."""

    def __init__(self) -> None:
        self.turns = 0
        self.closed = False

    async def send_turn(self, messages: Any, tools: Any = None, config: Any = None) -> Result:
        self.turns += 1
        named = [(tool["name"], tool.description) for tool in tools or []]
        said = f"{type(messages).__name__} {messages[-1].content} {named} {config.model} {self.turns}"
        return Result(said, usage=Tokens(7, 3))

    async def aclose(self) -> None:
        self.closed = True


class Answers:
    """Returns what the test put into ``answer``; raises it, if it is an exception."""

    answer: Any = None

    async def send_turn(self, messages: Any, tools: Any = None, config: Any = None) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        type(self).answer = "closed"


class NotAsync:
    def send_turn(self, messages: Any, tools: Any = None, config: Any = None) -> None: ...


class NoMethod:
    pass


class Refuses:
    def __init__(self) -> None:
        raise RuntimeError(f"the vault said no to {SECRET}")

    async def send_turn(self, messages: Any, tools: Any = None, config: Any = None) -> None: ...


class WantsArguments(Echo):
    def __init__(self, region: str) -> None:
        super().__init__()


def function() -> None: ...
