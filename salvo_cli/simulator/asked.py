"""What a request asks for, whichever wire it came by, and why it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from salvo_core.adapters.script import ScriptTurn
from salvo_core.trace.model import Usage


@dataclass(frozen=True, slots=True)
class Asked:
    """One request for a turn.

    Attributes:
        model: The name as sent.
        turn: Assistant messages in the conversation: the turns that came back before, 0-based.
        opening: Text of the first user message.
        seed: The request's own seed.
        call_id: Id of the first tool call in the conversation, which a simulator once made up.
        must_call: The tool that the answer is told to call; empty when the model may choose.
    """

    model: str
    turn: int
    opening: str = ""
    seed: int | None = None
    call_id: str = ""
    must_call: str = ""


NO_QUOTA = "insufficient_quota"
"""What OpenAI's API calls a used-up quota, as type and as code; its status is that of a rate limit."""


class Refused(Exception):
    """The request is answered with an error, as the real API would.

    Args:
        status: HTTP status.
        message: For the person who wrote the client.
        param: The field at fault, as a path; empty when it is not one field.
        code: The wire's own word for it; empty when it has none.
        retry_after_s: How long to wait before trying again, seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str = "",
        code: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s


class Wire(Protocol):
    """One provider's HTTP dialect, seen from the provider's side."""

    def read(self, document: dict[str, Any], headers: dict[bytes, bytes]) -> Asked:
        """Return what a request asks for.

        Raises:
            Refused: The real API would not take it.
        """
        ...

    def reply(self, asked: Asked, turn: ScriptTurn, usage: Usage, mark: str) -> dict[str, Any]:
        """Return the body of a turn; ``mark`` (letters, digits) makes its ids unique to trial and turn."""
        ...

    def error(self, refused: Refused) -> dict[str, Any]:
        """Return the body of an error."""
        ...

    def usage(self, usage: Usage) -> dict[str, int]:
        """Return tokens in this wire's words."""
        ...

    def models(self, ids: list[str]) -> dict[str, Any]:
        """Return the body of the list of models."""
        ...


def require(held: bool, message: str, *, param: str = "", code: str = "") -> None:
    """Refuse the request with status 400 unless a condition holds."""
    if not held:
        raise Refused(400, message, param=param, code=code)


def model_and_messages(document: dict[str, Any], missing_code: str = "") -> tuple[str, list[dict[str, Any]]]:
    """Return the two fields that both wires need, checked as far as both agree.

    Args:
        document: The request's body.
        missing_code: The wire's word for a field that is not there.
    """
    model, messages = document.get("model"), document.get("messages")
    require(model is not None, "'model' is required", param="model", code=missing_code)
    require(isinstance(model, str) and model != "", "'model' must be a name", param="model")
    require(messages is not None, "'messages' is required", param="messages", code=missing_code)
    require(isinstance(messages, list), "'messages' must be a list", param="messages")
    require(bool(messages), "'messages' must hold at least one message", param="messages")
    for place, message in enumerate(messages or ()):
        require(isinstance(message, dict), "each message must be an object", param=f"messages.{place}")
    return str(model), list(messages or ())


def refuse_streaming(document: dict[str, Any]) -> None:
    """Refuse a request for server-sent events: the simulator answers in one piece."""
    if document.get("stream"):
        raise Refused(
            400,
            "the simulator does not stream: leave 'stream' out or false",
            param="stream",
            code="unsupported_value",
        )


def check_number(document: dict[str, Any], name: str, low: float, high: float) -> None:
    """Refuse a number outside low..high; absent and null are fine."""
    given = document.get(name)
    if given is None:
        return
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    require(
        is_number and low <= given <= high, f"{name!r} must be a number from {low:g} to {high:g}", param=name
    )


def check_whole_number(document: dict[str, Any], name: str) -> None:
    """Refuse anything but a whole number of at least 1; absent and null are fine."""
    given = document.get(name)
    is_whole = isinstance(given, int) and not isinstance(given, bool) and given >= 1
    require(given is None or is_whole, f"{name!r} must be a whole number of at least 1", param=name)


def seed_of(document: dict[str, Any]) -> int | None:
    """Return the request's seed; only OpenAI has one, the other wire takes it as a courtesy."""
    seed = document.get("seed")
    require(
        seed is None or (isinstance(seed, int) and not isinstance(seed, bool)),
        "'seed' must be a whole number",
        param="seed",
    )
    return seed


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(
        str(part.get("text", "")) for part in parts if isinstance(part, dict) and part.get("type") == "text"
    )
