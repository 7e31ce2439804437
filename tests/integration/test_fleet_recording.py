"""A word in every free text of a run, looked for in everything that is left of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.acceptance.typing_person import Outcome, Person
from tests.integration.fleet import Fleet, Worker
from tests.integration.test_fleet_secrets import everything_in_redis, holding
from tests.unit.adapters.server import Canned, CannedServer, answer

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
WORDS = {"metadata_only": "Canarybird-7e1f-sings", "full": "sk-proj-Canarybird7e1fSings2026today"}
"""What must be nowhere afterwards, by mode: any word, or one that looks like a key."""

PIECE = "Canarybird"
"""Half a key is looked for too: text is cut to length in many places."""


def scenarios(word: str) -> dict[str, dict[str, Any]]:
    """Return scenarios with the word in every free text, by file: a title and tags are none."""
    said = f"Indeed, {word}."
    properties = {word: {"type": "string", "description": said}}
    schema = {"type": "object", "title": said, "properties": {word: {"const": said, "description": said}}}
    query = {"expression": f"contains(response.content, '{word}')", "operator": "eq", "value": True}
    tool = {
        "name": "look_up",
        "description": said,
        "parameters": {"properties": properties, "required": [word]},
        "mock_response": [said, {word: said}],
        "mocks": [
            {"match": {word: "first"}, "response": {word: [said]}},
            {"call": 2, "error": said},
        ],
    }
    desk = {
        "description": "refund desk",
        "tags": {"team": "refunds"},
        "adapter": "openai",
        "model": MODEL,
        "system_prompt": said,
        "prompt": said,
        "max_turns": 4,
        "tools": [tool],
        "extras": {"user": word, "metadata": {word: said}},
        "assertions": [
            {"type": "output_contains", "value": word, "required": True},
            {"type": "json_schema", "json_schema": schema},
            {"type": "tool_args", "tool": "look_up", "subset": {word: said}},
            {"type": "jmespath", **query},
            {"type": "jmespath", "expression": "response.content", "operator": "lt", "value": said},
            {"type": "custom", "function": "our_checks.quotes", "params": {word: said}},
            {"type": "custom", "function": "our_checks.breaks", "params": {word: said}},
            {"type": "not", "assertion": {"type": "output_contains", "value": f"no {word}"}},
            {"type": "any_of", "assertions": [{"type": "output_contains", "value": word}]},
            {"type": "tool_called", "tool": "look_up"},
        ],
    }
    turns = [{"tool_calls": [{"name": "look_up", "arguments": {word: said}}]}, {"text": said}]
    judge = {
        "type": "judge",
        "criteria": [{"name": word, "description": said}],
        "custom_prompt": said,
        "include_user_prompt": True,
        "k": 1,
        "required": True,
    }
    return {
        "desk.yaml": desk,
        "judged.yaml": {"description": "judged desk", "adapter": "openai", "model": MODEL, "prompt": said}
        | {"assertions": [judge]},
        "nameless.yaml": {"adapter": "openai", "model": MODEL, "prompt": said},
        "scripted.yaml": {
            "description": "scripted desk",
            "adapter": "scripted",
            "model": "pretend",
            "prompt": said,
            "script": {"turns": turns},
            "tools": [{**tool, "parameters": {}}],
        },
    }


CHECKS = """
def quotes(trace, assertion):
    print(trace.final_content)
    return {"passed": False, "details": str(trace.final_content) + str(assertion.params)}


def breaks(trace, assertion):
    raise KeyError(trace.final_content)
"""


def says(content: str | None, *calls: tuple[str, str]) -> Canned:
    """An answer of the provider with these calls: each a tool's name and arguments as it sends them."""
    called = [
        {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(calls)
    ]
    message = {"content": content, **({"tool_calls": called} if called else {})}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return answer({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})


def answers(word: str) -> list[Canned]:
    """What the provider says to the trials of the first round, one after the other, and then to all."""
    said = f"Indeed, {word}."

    def refuses(status: int) -> Canned:
        error = {"message": said, "type": said, "code": word, "param": said}
        return answer({"error": error}, status=status, headers={"retry-after": "0"})

    return [
        # Arguments, malformed ones, an invented tool with prose for a name; then a failure.
        says(
            said, ("look_up", json.dumps({word: "first", "deep": [{word: said}]})), ("look_up", f"{{{said}")
        ),
        says(None, ("look_up", json.dumps({word: said})), (said, "{}")),
        refuses(429),
        says(said),
        # The judged one: an answer, and a vote on it. Then one that is refused.
        says(said),
        says(said, ("score_criteria", json.dumps({word: {"score": 0.9, "reasoning": said}}))),
        refuses(400),
        # The second round: no answers, and then one word, which is no vote either.
        answer(text=f'{{"choices": [{said}'),  # asked again once
        answer(text=f"<html><title>{said}</title>{said}</html>", headers={"content-type": "text/html"}),
        says(said),
    ]


@pytest.fixture
async def echo() -> AsyncIterator[CannedServer]:
    """A provider that repeats a word wherever an answer has room for it."""
    server = CannedServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def desk(fleet_on_files: Fleet, echo: CannedServer) -> Person:
    """A person in the fleet's project; its workers ask the echo and may call the functions."""
    fleet = fleet_on_files
    (fleet.folder / "checks").mkdir()
    (fleet.folder / "checks" / "our_checks.py").write_text(CHECKS)
    fleet.environ["PYTHONPATH"] += f":{fleet.folder / 'checks'}"
    fleet.environ |= {"OPENAI_BASE_URL": echo.url, "SALVO_ALLOW_IMPORTS": "our_checks.*"}
    fleet.project(providers={"openai": {"adapter": "openai", "retries_max": 1}})
    return Person(fleet.folder, **fleet.environ)


def everything_below(folder: Path) -> Iterator[bytes]:
    """Yield the name and the content, unpacked, of every file."""
    for path in folder.rglob("*"):
        yield str(path.relative_to(folder)).encode()
        if path.is_file():
            body = path.read_bytes()
            yield zstandard.decompress(body) if path.suffix == ".zst" else body


async def typed(person: Person, *commands: Iterable[str]) -> list[Outcome]:
    """Type commands one after the other; the provider answers meanwhile."""
    return [await asyncio.to_thread(person.types, *command) for command in commands]


@pytest.mark.parametrize("mode", WORDS)
async def test_t59_a_word_said_everywhere_is_left_nowhere(
    fleet_on_files: Fleet, desk: Person, echo: CannedServer, mode: str
) -> None:
    fleet, word = fleet_on_files, WORDS[mode]
    echo.plays(*answers(word))
    files = scenarios(word)
    for name, scenario in files.items():
        (fleet.folder / name).write_text(json.dumps(scenario))
    (worker,) = await fleet.start(concurrency=1, loglevel="debug")
    outcomes = await typed(desk, ("run", *files, "-n", "2", "--recording", mode, "-j", "1", "--record", "-V"))
    plan = await fleet.observer.plan(await fleet.observer.resolve("latest"))
    first = plan.trace_id(0)
    outcomes += await typed(
        desk, ("report", "--json"), ("replay", first), ("trace", plan.trace_id(1), "--json")
    )
    # The agent was asked with the word, and said it; assertions saw it.
    assert any(word in json.dumps(seen.body) for seen in echo.seen)
    traces = [await fleet.observer.trace_of(plan.run_id, row) for row in await fleet.rows(plan)]
    wanted = [True, False, True, True, False, False, False, True, True, True]
    assert [finding.passed for finding in traces[0].findings] == wanted
    assert traces[0].findings[0].redaction_affected
    assert {trace.outcome for trace in traces} == {"completed", "infra_error"}
    assert [vote.heard for n in (1, 5) for vote in traces[n].judgements[0].votes] == [True, False]
    assert (traces[1].grade, traces[5].grade) == ("passed", None)
    assert await _in_any(PIECE, fleet, worker, outcomes) == []
    assert WHAT_IS_SAID[mode] in outcomes[2].out
    await _control(fleet, worker, files["scripted.yaml"], "Indeed")


WHAT_IS_SAID = {"metadata_only": "recorded as metadata_only", "full": "is struck out"}


async def _in_any(word: str, fleet: Fleet, worker: Worker, outcomes: Iterable[Outcome] = ()) -> list[Any]:
    """Return every place that holds the word, or the beginning of it."""
    store = Path(fleet.environ["SALVO_STORE_URL"].removeprefix("file://"))
    found: list[Any] = holding(word, everything_below(store))
    found += holding(word, everything_in_redis(fleet.redis_server))
    found += [line for line in worker.log().splitlines() if word in line]
    return found + [part for one in outcomes for part in (one.out, one.err) if word in part]


async def _control(fleet: Fleet, worker: Worker, scenario: dict[str, Any], word: str) -> None:
    """Assert that this test finds what is there to be found: a word that nobody takes out."""
    await fleet.sealed(await fleet.submit(scenario, trials=1))
    assert await _in_any(word, fleet, worker)
