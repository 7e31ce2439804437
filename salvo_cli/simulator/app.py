"""The pretend provider as an ASGI application: who may ask, what is answered, what is counted."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

from salvo_cli.simulator.answers import Answer, counted, document, fault, refusal, reply
from salvo_cli.simulator.anthropic_wire import AnthropicWire
from salvo_cli.simulator.asked import Refused, Wire
from salvo_cli.simulator.book import ScriptBook
from salvo_cli.simulator.callers import Callers
from salvo_cli.simulator.connections import Connections, reset
from salvo_cli.simulator.counters import Counters
from salvo_cli.simulator.openai_wire import OpenAIWire
from salvo_cli.simulator.rate_limit import TokenBucket
from salvo_cli.simulator.request_log import Entry, RequestLog
from salvo_core.adapters.script import ScriptedError
from salvo_core.adapters.scripted import Exchanges
from salvo_core.clock import Clock

BODY_BYTES_MAX = 16 * 1024 * 1024
"""A longer request is answered with 413."""

_LOGGED_LENGTH_MAX = 200  # of the names a client chooses

_OPENAI, _ANTHROPIC = OpenAIWire(), AnthropicWire()
_WIRES: Mapping[str, Wire] = {"/v1/chat/completions": _OPENAI, "/v1/messages": _ANTHROPIC}
_PAGES = frozenset({"/v1/models", "/healthz", "/stats"})


class Receive(Protocol):
    """ASGI's receive channel."""

    async def __call__(self) -> MutableMapping[str, Any]:
        """Return the next event of the request."""
        ...


class Send(Protocol):
    """ASGI's send channel."""

    async def __call__(self, message: MutableMapping[str, Any], /) -> None:
        """Send an event of the response."""
        ...


class SimulatorApp:
    """Answers requests from a book of scripts.

    Needs ``scope["state"]["transport"]``, the connection underneath, which ``server`` puts
    there: resets and half bodies are not things ASGI can say.

    Args:
        book: The scripts.
        clock: Measures the rate limit and stamps the log.
        api_key: Asked of every request for a model or the list of models; None asks for nothing.
        request_log: Where each request to a model is written; None keeps no log.
    """

    def __init__(
        self,
        book: ScriptBook,
        *,
        clock: Clock,
        api_key: str | None = None,
        request_log: RequestLog | None = None,
    ) -> None:
        self.connections = Connections()
        self._book = book
        self._clock = clock
        self._api_key = api_key.encode() if api_key is not None else None
        self._log = request_log
        self._bucket = TokenBucket(book.rate_limit, clock) if book.rate_limit is not None else None
        self._callers = Callers()
        self._exchanges = Exchanges()
        self._counters = Counters()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        wire = _WIRES.get(path)
        if wire is None:
            await _write(self._page(path, method, dict(scope["headers"])), scope, receive, send)
        elif method != "POST":
            await _write(_not_allowed(wire, path, "POST"), scope, receive, send)
        else:
            await self._model(wire, scope, receive, send)

    def follow(self, book: ScriptBook) -> None:
        """Answer from another book from the next request on."""
        self._book = book

    def stats(self) -> dict[str, Any]:
        """Return what ``GET /stats`` answers."""
        return self._counters.document() | {
            "connections": self.connections.open,
            "connections_opened": self.connections.opened,
        }

    async def _model(self, wire: Wire, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self._counters.begin()
        try:
            headers = dict(scope["headers"])
            entry = Entry(
                ts=self._clock.now().isoformat(timespec="microseconds"),
                trace_id=headers.get(b"x-salvo-trace-id", b"").decode("latin-1")[:_LOGGED_LENGTH_MAX],
            )
            try:
                body = await _read_body(receive)
                if body is None:
                    return  # the client left before it had asked for anything
                answer, latency_s = self._decide(wire, headers, body, entry)
            except Refused as refused:
                answer, latency_s = refusal(wire, refused), 0.0
            entry.status = answer.status_seen
            answer = self._record(wire, entry) or answer
            if answer.manner == "hang":
                await self.connections.pause(scope["state"]["transport"], None)
            elif latency_s:
                await self.connections.pause(scope["state"]["transport"], latency_s)
            await _write(answer, scope, receive, send)
        finally:
            self._counters.end()

    def _decide(
        self, wire: Wire, headers: dict[bytes, bytes], body: bytes, entry: Entry
    ) -> tuple[Answer, float]:
        """Return the answer to a request and its latency in seconds, and fill in what the log says of it."""
        self._authorise(headers)
        asked = wire.read(_parse(body), headers)
        entry.model, entry.turn = asked.model[:_LOGGED_LENGTH_MAX], asked.turn
        found = self._book.find(asked.model)
        if found is None:
            scripts = ", ".join(self._book.scripts)[:300]
            raise Refused(
                404,
                f"there is no model {asked.model[:80]!r} here; the scripts are {scripts}",
                param="model",
                code="model_not_found",
            )
        entry.script, script = found
        caller = self._callers.identify(entry.trace_id, asked)
        entry.trial = caller.trial_key
        self._take_turn_in_limit()
        entry.exchange, step = self._exchanges.play(
            script, caller.trial_key, asked.turn, counted_as=f"{caller.counted_as}\n{entry.script}"
        )
        if isinstance(step.answer, ScriptedError):
            entry.fault, usage = step.answer.kind, step.answer.usage
            answer = fault(wire, asked, step.answer, caller.mark)
        else:
            usage = step.usage or counted(step.answer, len(body))
            answer = reply(wire, asked, step.answer, usage, caller.mark)
        entry.input_tokens, entry.output_tokens = usage.input_tokens, usage.output_tokens
        return answer, step.latency_s

    def _authorise(self, headers: Mapping[bytes, bytes]) -> None:
        if self._api_key is None:
            return
        bearer = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        # api-key is how gateways in the manner of Azure ask for it
        shown = (bearer, headers.get(b"x-api-key", b""), headers.get(b"api-key", b""))
        if not any(hmac.compare_digest(key, self._api_key) for key in shown):
            raise Refused(401, "the API key is missing or not the one this simulator was started with")

    def _take_turn_in_limit(self) -> None:
        wait_s = self._bucket.take() if self._bucket is not None else 0.0
        if wait_s:
            raise Refused(
                429, f"the rate limit is reached; try again in {wait_s:.3f} s", retry_after_s=wait_s
            )

    def _record(self, wire: Wire, entry: Entry) -> Answer | None:
        """Count and log a request; return what to answer instead when the log cannot be written."""
        try:
            if self._log is not None:
                self._log.append(entry)
        except OSError as error:
            # an answer that is missing from the log would make the log lie
            entry.status, entry.fault = 500, None
            return refusal(
                wire, Refused(500, f"the simulator cannot write its request log: {error.strerror}")
            )
        finally:
            self._counters.decided(entry)
        return None

    def _page(self, path: str, method: str, headers: dict[bytes, bytes]) -> Answer:
        wire: Wire = _ANTHROPIC if b"anthropic-version" in headers else _OPENAI
        if path not in _PAGES:
            known = ", ".join([*_WIRES, *sorted(_PAGES)])
            return refusal(wire, Refused(404, f"nothing is served at this path; there are {known}"))
        if method not in ("GET", "HEAD"):
            return _not_allowed(wire, path, "GET, HEAD")
        if path == "/healthz":
            return document({"status": "ok"})
        if path == "/stats":
            return document(self.stats())
        try:
            self._authorise(headers)
        except Refused as refused:
            return refusal(wire, refused)
        return document(wire.models([name if "/" in name else f"sim/{name}" for name in self._book.scripts]))


def _not_allowed(wire: Wire, path: str, allowed: str) -> Answer:
    answer = refusal(wire, Refused(405, f"{path} takes {allowed} only"))
    return Answer(answer.status, answer.body, ((b"allow", allowed.encode()),))


async def _read_body(receive: Receive) -> bytes | None:
    """Return the request's body, None if the client left before it was whole."""
    parts: list[bytes] = []
    length = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return None
        parts.append(event.get("body", b""))
        length += len(parts[-1])
        if length > BODY_BYTES_MAX:
            raise Refused(413, f"the request is longer than {BODY_BYTES_MAX} bytes")
        if not event.get("more_body", False):
            return b"".join(parts)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: brackets nested some thousand deep
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise Refused(400, "the body must be a JSON object")
    return parsed


async def _write(answer: Answer, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if answer.manner in ("whole", "half"):
        standard = [(b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))]
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [*standard, *answer.headers]}
        )
        whole = answer.manner == "whole"
        arriving = answer.body if whole else answer.body[: len(answer.body) // 2]
        await send({"type": "http.response.body", "body": arriving, "more_body": not whole})
        if whole:
            return
    transport = scope["state"]["transport"]
    if answer.manner == "reset":
        reset(transport)
    else:
        transport.close()
    # to return earlier would be an unfinished response, which the server reports as a bug of ours
    while (await receive())["type"] != "http.disconnect":
        pass
