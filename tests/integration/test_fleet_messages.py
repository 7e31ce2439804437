"""What lies in the queue: a message too many, and messages that are not ours."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from salvo_worker.app import QUEUE
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import TURNS, scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"


async def first_message(fleet: Fleet) -> dict[str, Any]:
    """Return the message that is next in the queue, and leave it there; before any worker starts."""
    raw = await fleet.manifest.redis.lindex(QUEUE, -1)
    assert isinstance(raw, str)
    found: dict[str, Any] = json.loads(raw)
    return found


def with_body(envelope: dict[str, Any], body: Any) -> str:
    """Return the message with another body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.dumps(envelope | {"body": base64.b64encode(raw).decode()})


def with_headers(envelope: dict[str, Any], **headers: Any) -> str:
    """Return the message with other headers."""
    return json.dumps(envelope | {"headers": envelope["headers"] | headers})


def with_arguments(envelope: dict[str, Any], **arguments: Any) -> str:
    """Return the message with other arguments of the task."""
    args, kwargs, embed = json.loads(base64.b64decode(envelope["body"]))
    return with_body(envelope, [args, kwargs | arguments, embed])


async def test_a_message_that_comes_ten_times_leads_to_one_result(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script(0.05)}):
        plan = await fleet.submit(scenario(MODEL), trials=4)
        for _ in range(9):
            await fleet.dispatcher.publish(plan.messages(0, plan.total))
        assert await fleet.dispatcher.queued() == 40
        await fleet.start(2, concurrency=20)
        await fleet.sealed(plan)
        assert len(await fleet.audit(plan)) == 4
        # And once more, after the end.
        await fleet.dispatcher.publish(plan.messages(0, plan.total))
        await fleet.nothing_is_left()
    assert {row.attempt for row in await fleet.rows(plan)} == {1}
    assert sorted(fleet.asked().values()) == [1] * 4 * TURNS
    assert len(await fleet.stored_traces(plan)) == 4


def not_ours(good: dict[str, Any]) -> dict[str, str | bytes]:
    """Return messages that nobody who means well sends, by what is wrong with them."""
    (_, kwargs, embed) = json.loads(base64.b64decode(good["body"]))
    elsewhere = "../../../../etc/passwd"
    return {
        "no JSON": "hello",
        "no text": b"\xff\xfe\x00\x80",
        "nothing": "",
        "an empty map": "{}",
        "a list": "[1, 2]",
        "null": "null",
        "a number": "42",
        "nested too deep": "[" * 200_000,
        "no properties": json.dumps({"body": good["body"], "headers": good["headers"]}),
        "properties that are none": json.dumps(good | {"properties": [1]}),
        "no headers": json.dumps({k: v for k, v in good.items() if k != "headers"}),
        "headers that are none": json.dumps(good | {"headers": 7}),
        "no base64": json.dumps(good | {"body": "%%%"}),
        "a body that is no JSON": with_body(good, b"}{"),
        "a body nested too deep": with_body(good, b"[" * 200_000),
        "a body that is no list": with_body(good, {"run_id": "x"}),
        "a body too short": with_body(good, [[]]),
        "a pickle": json.dumps(good | {"content-type": "application/x-python-serialize"}),
        "a content type nobody knows": json.dumps(good | {"content-type": "application/x-surprise"}),
        "an encoding nobody knows": json.dumps(good | {"content-encoding": "klingon"}),
        "a task nobody knows": with_headers(good, task="os.system"),
        "a task that is no name": with_headers(good, task=["salvo.trial"]),
        "no id": with_headers(good, id=None),
        "a date that is none": with_headers(good, eta="soon"),
        "an expiry that is none": with_headers(good, expires={"a": 1}),
        "positions instead of names": with_body(good, [[kwargs["run_id"], 0, 0], {}, embed]),
        "no arguments": with_body(good, [[], {}, embed]),
        "a number as run": with_arguments(good, run_id=5),
        "a path as run": with_arguments(good, run_id=elsewhere),
        "a path as trace": with_arguments(good, trace_id=elsewhere),
        "a run in capitals": with_arguments(good, run_id=kwargs["run_id"].upper()),
        "a text as index": with_arguments(good, index="0"),
        "an index below zero": with_arguments(good, index=-1),
        "an index beyond all": with_arguments(good, index=2**70),
        "a cell of another trial": with_arguments(good, cell=7),
        "a run that never was": with_arguments(good, run_id="0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"),
        "one thing too many": with_arguments(good, also="this"),
        "a megabyte too many": with_arguments(good, also="x" * 1_000_000),
        "a megabyte as run": with_arguments(good, run_id="x" * 1_000_000),
        "a chain to another task": with_body(good, [[], kwargs, embed | {"chain": [{"task": "x"}]}]),
    }


async def test_a_message_that_is_not_ours_leaves_the_worker_alive_and_nothing_behind(fleet: Fleet) -> None:
    async with fleet.provider({MODEL: script()}):
        first = await fleet.submit(scenario(MODEL), trials=2)
        good = await first_message(fleet)
        (worker,) = await fleet.start(concurrency=4)
        await fleet.sealed(first)
        before = await fleet.rows(first)
        for what, raw in not_ours(good).items():
            await fleet.manifest.redis.lpush(QUEUE, raw)
            await until(lambda: _taken(fleet, worker), f"the worker takes a message with {what}")
            assert worker.is_alive, what
        plan = await fleet.submit(scenario(MODEL), trials=8)
        await fleet.sealed(plan)
        await fleet.audit(plan)
        await fleet.nothing_is_left()
    assert worker.is_alive
    assert await fleet.rows(first) == before
    assert max(fleet.asked().values()) == 1
    assert len(worker.log()) < 200_000


async def _taken(fleet: Fleet, worker: Any) -> bool:
    return not worker.is_alive or not await fleet.dispatcher.queued()
