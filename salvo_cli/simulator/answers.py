"""What goes back over the wire: a turn, a refusal, or a fault, ready to be written."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from salvo_cli.simulator.asked import NO_QUOTA, Asked, Refused, Wire
from salvo_core.adapters.script import ScriptedError, ScriptTurn
from salvo_core.trace.model import Usage

Manner = Literal["whole", "half", "reset", "hang"]
"""How much of the answer arrives: all, half of the body, nothing and a reset, nothing ever."""

_CHARACTERS_PER_TOKEN = 4  # the usual rule of thumb for English and JSON

_WEB_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>\n"
)
_WRONG_JSON = b'{"id": "sim", "choices": [{"index": 0, "message": {"role": "assistant", }}'


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: ``status`` and ``body`` as they would stand, and the ``manner`` in which they arrive."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json"
    manner: Manner = "whole"

    @property
    def status_seen(self) -> int | None:
        """The status that reaches the client, None when nothing does."""
        return None if self.manner in ("reset", "hang") else self.status


def document(
    body: dict[str, Any], status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Answer:
    """Return a JSON document as an answer."""
    return Answer(status, json.dumps(body).encode(), headers)


def counted(turn: ScriptTurn, request_bytes: int) -> Usage:
    """Return the tokens of a turn whose script gives none: a quarter of the characters, at least 1.

    Args:
        turn: What is answered.
        request_bytes: Length of the request's body.
    """
    said = len(turn.text or "")
    said += sum(
        len(call.name) + len(call.malformed or json.dumps(call.arguments)) for call in turn.tool_calls
    )
    return Usage(
        input_tokens=max(1, request_bytes // _CHARACTERS_PER_TOKEN),
        output_tokens=max(1, said // _CHARACTERS_PER_TOKEN),
    )


def reply(wire: Wire, asked: Asked, turn: ScriptTurn, usage: Usage, mark: str) -> Answer:
    """Return a turn as an answer."""
    return document(wire.reply(asked, turn, usage, mark))


def refusal(wire: Wire, refused: Refused) -> Answer:
    """Return an error as an answer, with ``Retry-After`` when there is a wait.

    ``Retry-After`` is in whole seconds, rounded up, as HTTP has it; ``retry-after-ms``, which
    OpenAI's and Anthropic's clients read first, is exact.

    Source:
        RFC 9110, section 10.2.3.
    """
    return document(wire.error(refused), refused.status, _wait_headers(refused.retry_after_s))


def fault(wire: Wire, asked: Asked, error: ScriptedError, mark: str) -> Answer:
    """Return a scripted failure as an answer."""
    shape = error.shape
    match error.kind:
        case "reset" | "hang":
            return Answer(500, b"", manner=error.kind)
        case "html":
            return Answer(200, _WEB_PAGE, content_type=b"text/html; charset=utf-8")
        case "wrong_json":
            return Answer(200, _WRONG_JSON)
        case "half_body":
            cut = wire.reply(asked, ScriptTurn(text="Half of this reply never arrives."), error.usage, mark)
            return Answer(200, json.dumps(cut).encode(), manner="half")
        case _:
            inside_200 = error.kind == "error_in_200"
            code = NO_QUOTA if error.kind == "quota" else ""
            refused = Refused(500 if inside_200 else shape.status or 500, shape.message, code=code)
            body = wire.error(refused)
            if error.usage.total_tokens:
                body["usage"] = wire.usage(error.usage)
            return document(body, 200 if inside_200 else refused.status, _wait_headers(error.retry_after_s))


def _wait_headers(wait_s: float | None) -> tuple[tuple[bytes, bytes], ...]:
    if wait_s is None:
        return ()
    whole_s, exact_ms = math.ceil(wait_s), math.ceil(wait_s * 1000)
    return ((b"retry-after", b"%d" % whole_s), (b"retry-after-ms", b"%d" % exact_ms))
