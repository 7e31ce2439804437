"""What lies in the queue: a message too many, and messages that are not ours."""

from __future__ import annotations

import asyncio
import base64
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from salvo_core.fleet.foreign import COUNTS, FOREIGN, KEPT, ForeignMessages, Reason
from salvo_worker.app import QUEUE, make_app
from tests.integration.fleet import UNACKED, Fleet, until
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
        # And when Redis has forgotten the run, which it does a while after the end.
        stored = {key: await fleet.store.get(key) async for key in fleet.store.list(f"runs/{plan.run_id}/")}
        await fleet.manifest.redis.delete(
            *[key async for key in fleet.manifest.redis.scan_iter(f"*{plan.run_id}*")]
        )
        await fleet.dispatcher.publish(plan.messages(0, plan.total))
        await fleet.nothing_is_left()
        following = await fleet.submit(scenario(MODEL), trials=1)
        await fleet.sealed(following)
        assert {key: await fleet.store.get(key) for key in stored} == stored
        assert [row async for row in fleet.manifest.rows(plan.run_id)] == []
        asked = {turn: times for turn, times in fleet.asked().items() if turn[0] != following.trace_id(0)}
    assert sorted(asked.values()) == [1] * 4 * TURNS
    assert len(await fleet.stored_traces(plan)) == 4


class Runs:
    """What a pickle can make whoever loads it do."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> Any:
        return Path.touch, (self.trap,)


def not_ours(good: dict[str, Any], trap: Path) -> dict[str, tuple[Reason | None, str | bytes]]:
    """Return messages that nobody who means well sends, by what is wrong with them.

    Each with the reason it is counted under; None for those that name a trial, if not one that wants doing.
    A worker that loads the wrong thing makes the file ``trap``.
    """
    (_, kwargs, embed) = json.loads(base64.b64decode(good["body"]))
    elsewhere = "../../../../etc/passwd"
    yaml_trap = f"!!python/object/apply:os.system ['touch {trap}']".encode()
    pickled = pickle.dumps([(), {"run_id": Runs(trap)}, embed])
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    return {
        "no JSON": ("unreadable", "hello"),
        "no text": ("unreadable", b"\xff\xfe\x00\x80"),
        "nothing": ("unreadable", ""),
        "an empty map": ("wrong shape", "{}"),
        "a list": ("wrong shape", "[1, 2]"),
        "null": ("wrong shape", "null"),
        "a number": ("wrong shape", "42"),
        "nested too deep": ("unreadable", "[" * 16_000),
        "nested too deep, in a map": ("unreadable", '{"a":' * 3_000),
        "nested and whole": ("wrong shape", json.dumps(good | {"properties": deep})),
        "a type kombu knows and cannot make": (
            "unreadable",
            json.dumps(good | {"x": {"__type__": "datetime", "__value__": "soon"}}),
        ),
        "no properties": ("wrong shape", json.dumps({"body": good["body"], "headers": good["headers"]})),
        "properties that are none": ("wrong shape", json.dumps(good | {"properties": [1]})),
        "no headers": ("wrong shape", json.dumps({k: v for k, v in good.items() if k != "headers"})),
        "headers that are none": ("wrong shape", json.dumps(good | {"headers": 7})),
        "no base64": ("wrong shape", json.dumps(good | {"body": "%%%"})),
        "a body that is no JSON": ("unreadable", with_body(good, b"}{")),
        "a body nested too deep": ("unreadable", with_body(good, b"[" * 10_000)),
        "a body that is no list": ("wrong shape", with_body(good, {"run_id": "x"})),
        "a body too short": ("wrong shape", with_body(good, [[]])),
        "a pickle": (
            "another content type",
            with_body(good | {"content-type": "application/x-python-serialize"}, pickled),
        ),
        "a pickle, said to be JSON": ("unreadable", with_body(good, pickled)),
        "a YAML": (
            "another content type",
            with_body(good | {"content-type": "application/x-yaml"}, yaml_trap),
        ),
        "a content type nobody knows": (
            "another content type",
            json.dumps(good | {"content-type": "application/x-surprise"}),
        ),
        "an encoding nobody knows": (
            "another content type",
            json.dumps(good | {"content-encoding": "klingon"}),
        ),
        "a task nobody knows": ("another task", with_headers(good, task="os.system")),
        "a task of Celery's own": ("another task", with_headers(good, task="celery.map")),
        "a task that is no name": ("another task", with_headers(good, task=["salvo.trial"])),
        "no id": ("wrong shape", with_headers(good, id=None)),
        "a date that is none": ("wrong shape", with_headers(good, eta="soon")),
        "an expiry that is none": ("wrong shape", with_headers(good, expires={"a": 1})),
        "positions instead of names": ("wrong shape", with_body(good, [[kwargs["run_id"], 0, 0], {}, embed])),
        "no arguments": ("wrong arguments", with_body(good, [[], {}, embed])),
        "a number as run": ("wrong arguments", with_arguments(good, run_id=5)),
        "a path as run": ("wrong arguments", with_arguments(good, run_id=elsewhere)),
        "a path as trace": ("wrong arguments", with_arguments(good, trace_id=elsewhere)),
        "a path behind a run": ("wrong arguments", with_arguments(good, run_id=kwargs["run_id"] + elsewhere)),
        "a run in capitals": ("wrong arguments", with_arguments(good, run_id=kwargs["run_id"].upper())),
        "a text as index": ("wrong arguments", with_arguments(good, index="0")),
        "an index below zero": ("wrong arguments", with_arguments(good, index=-1)),
        "an index beyond all": ("wrong arguments", with_arguments(good, index=2**70)),
        "a cell of another trial": (None, with_arguments(good, cell=7)),
        "a run that never was": (
            None,
            with_arguments(good, run_id="0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"),
        ),
        "one thing too many": ("wrong arguments", with_arguments(good, also="this")),
        "a chain to another task": (
            "wrong shape",
            with_body(good, [[], kwargs, embed | {"chain": [{"task": "x"}]}]),
        ),
        "ten megabytes too many": ("too large", with_arguments(good, also="x" * 10_000_000)),
        "ten megabytes of brackets": ("too large", "[" * 10_000_000),
    }


async def test_a_message_that_is_not_ours_is_set_aside_and_the_worker_goes_on(
    fleet: Fleet, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    async with fleet.provider({MODEL: script()}):
        first = await fleet.submit(scenario(MODEL), trials=2)
        good = await first_message(fleet)
        (worker,) = await fleet.start(concurrency=4)
        await fleet.sealed(first)
        before = await fleet.rows(first)
        hostile = not_ours(good, trap)
        for what, (_, raw) in hostile.items():
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
    assert not trap.exists()
    kept = ForeignMessages(fleet.manifest.redis, "here")
    expected = [reason for reason, _ in hostile.values() if reason]
    assert await kept.counts() == Counter(expected)
    newest = await kept.newest(1000)
    assert [message.reason for message in reversed(newest)] == expected
    assert newest[0].size_bytes == 10_000_000
    assert all(message.beginning.isprintable() and message.beginning.isascii() for message in newest)
    assert await fleet.manifest.redis.memory_usage(FOREIGN) < 100_000


async def test_what_is_set_aside_is_bounded_and_can_be_cleared(fleet: Fleet) -> None:
    await fleet.start()
    redis = fleet.manifest.redis
    await redis.lpush(f"{QUEUE}\x06\x169", "in a queue of another priority, which kombu reads as well")
    await until(lambda: _counted(fleet, 1), "the other priority's is counted")
    await ForeignMessages(redis, "here").clear()
    await redis.lpush(QUEUE, *(f"{number} {'x' * 9000}" for number in range(KEPT + 200)))
    await until(lambda: _counted(fleet, KEPT + 200), "every message is counted")
    assert await redis.llen(FOREIGN) == KEPT
    assert await redis.memory_usage(FOREIGN, samples=0) < 4000 * KEPT
    kept = ForeignMessages(redis, "here")
    (newest,) = await kept.newest(1)
    assert newest.beginning.startswith(f"{KEPT + 199} xxx")
    await redis.lpush(FOREIGN, b"\xff", "{}", "[1]")  # whoever writes to the queue can write here
    await redis.hset(COUNTS, mapping={"unreadable": b"\xff", "made up": "7"})
    assert [one.at_ms for one in await kept.newest(4)] == [newest.at_ms]
    assert not await kept.counts()
    await kept.clear()
    assert await kept.newest(10) == []


async def test_remote_control_answers_a_ping_and_does_nothing_else(fleet: Fleet) -> None:
    (worker,) = await fleet.start()
    # Through kombu's own transport: ours would keep the answer from us.
    person: Any = Celery("a person", broker=fleet.redis_server.url, set_as_current=False)
    person.conf.broker_transport = "kombu.transport.redis:Transport"
    control = person.control

    async def answers() -> bool:
        return len(await asyncio.to_thread(control.ping, timeout=2.0, limit=1)) == 1

    await until(answers, "the worker listens")
    for command, arguments in (
        ("shutdown", {}),
        ("add_consumer", {"queue": "another"}),
        ("cancel_consumer", {"queue": QUEUE}),
        ("pool_shrink", {"n": 100}),
        ("revoke", {"task_id": "x"}),
        ("ping", {"pattern": "x"}),
    ):
        await asyncio.to_thread(control.broadcast, command, arguments)
    for junk in (b"\xff", "[" * 100_000, "[1]", "7", '{"body": 1}'):
        await fleet.manifest.redis.publish("/0.celery.pidbox", junk)
    await until(answers, "it still answers")
    assert worker.is_alive
    assert (await ForeignMessages(fleet.manifest.redis, "here").counts())["remote control"] == 6 + 3
    assert worker.log().count("\n") < 20


async def test_entries_of_kombus_books_that_are_none_are_set_aside(fleet: Fleet) -> None:
    redis = fleet.manifest.redis
    channel = make_app(fleet.redis_server.url).connection().channel()
    for tag, entry in {
        "a": "no JSON",
        "b": "[1]",
        "c": '[1, "", "salvo.trials"]',
        "d": '["x", 2, 3]',
    }.items():
        await redis.hset(UNACKED, tag, entry)
        await redis.zadd("unacked_index", {tag: 1})
    await asyncio.to_thread(channel.qos.restore_visible, interval=1)
    assert not await redis.exists(UNACKED)
    assert not await redis.exists("unacked_index")
    channel.connection.client.release()


async def _counted(fleet: Fleet, count: int) -> bool:
    return (await ForeignMessages(fleet.manifest.redis, "here").counts()).total() == count


async def _taken(fleet: Fleet, worker: Any) -> bool:
    return not worker.is_alive or not await fleet.dispatcher.queued()
