"""One try at one trial, in every way it can be disturbed: one row, one whole trace, nothing paid twice."""

import asyncio
import logging

import pytest

from salvo_core.adapters.protocol import TurnReply
from salvo_core.attempt import attempt
from salvo_core.cancel import cancel
from salvo_core.errors import ObjectMissing, RedisUnavailable, StoreRefused, StoreUnavailable
from salvo_core.manifest import keys as redis_keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Row
from salvo_core.record import PATIENCE_S
from salvo_core.run.plan import TrialMessage
from salvo_core.store import keys
from salvo_core.store.files import FileStore
from salvo_core.store.memory import MemoryStore
from salvo_core.trace.model import ToolCall
from salvo_core.trace.redaction import MARKER
from tests.integration.site import TURNS, Fuse, Killed, Site, loaded, order
from tests.servers.process import free_port
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers


@pytest.fixture(params=["memory", "files"])
async def site(request, redis_url, tmp_path):
    made = Site(redis_url, MemoryStore() if request.param == "memory" else FileStore(tmp_path / "store"))
    yield made
    await made.aclose()


async def one_trial(site, **fields):
    """Order a run of one trial; return its plan and its message."""
    plan = await site.submit(order(1, **fields))
    (message,) = site.outbox.waiting
    site.outbox.waiting.clear()
    return plan, message


async def row_of(site, plan, index=0):
    return (await site.rows(plan.run_id))[index]


async def trace_of(site, plan, index=0):
    row = await row_of(site, plan, index)
    return await site.trace_of(row, plan.run_id)


async def check_paid_once(site, plan):
    """Assert that every turn of every trial was asked for exactly once."""
    assert sorted(site.stage.asked) == sorted(
        (plan.trace_id(i), turn) for i in range(plan.total) for turn in range(TURNS)
    )


# -- as it should be ---------------------------------------------------------------------------------


async def test_a_message_leads_to_a_whole_trace_a_row_that_names_it_and_a_sealed_run(site):
    plan, message = await one_trial(site)
    await attempt(message, site.bench("host-1"))
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.attempt, row.result.worker, row.result.turns) == ("passed", 1, "host-1", 3)
    assert (trace.status, trace.outcome, trace.score, trace.grade) == ("passed", "completed", 1.0, "passed")
    assert [finding.passed for finding in trace.findings] == [True, True]
    assert (trace.run_id, trace.index, trace.cell, trace.trial) == (plan.run_id, 0, 0, 0)
    assert (trace.scenario.name, trace.model, trace.adapter) == ("refund desk", "gpt-4o-mini", "scripted")
    assert trace.ended_at >= trace.started_at
    assert await site.state(plan.run_id) == "sealed"
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_message_that_comes_ten_times_at_once_leads_to_one_commit(site):
    plan, message = await one_trial(site)
    benches = [site.bench(f"w{number}") for number in range(3)]
    await asyncio.gather(*(attempt(message, benches[number % 3]) for number in range(10)))
    await attempt(message, benches[0])
    await site.check(plan)
    await check_paid_once(site, plan)
    counts = await site.manifest.counts(plan.run_id)
    assert (counts.claims, counts.ended, counts.turns) == (1, 1, TURNS)
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == [
        keys.trace(plan.run_id, message.trace_id, 1)
    ]


async def test_a_whole_run_over_many_workers_pays_for_every_turn_once(site):
    plan = await site.submit(order(20, [loaded(), loaded("b.yaml", description="second")]))
    await site.work(*(site.bench(f"w{number}") for number in range(3)))
    await site.check(plan)
    await check_paid_once(site, plan)
    assert await site.state(plan.run_id) == "sealed"


async def test_the_end_of_a_trial_sends_the_message_of_the_next(site):
    plan = await site.submit(order(3, concurrency_max=1))
    assert [message.index for message in site.outbox.waiting] == [0]
    await site.work_one(site.bench())
    assert [message.index for message in site.outbox.waiting] == [1]
    await site.work()
    await site.check(plan)


async def test_messages_that_are_late_or_unknown_change_nothing(site, caplog):
    plan, message = await one_trial(site)
    await attempt(message, site.bench())
    before = await site.everything_stored()
    other = await site.submit(order(2))
    stranger = message.model_copy(update={"run_id": other.run_id})
    for late in (message, stranger):
        await attempt(late, site.bench("w2"))
    await site.manifest.pause(other.run_id)
    await attempt(other.message(0), site.bench())
    assert len(site.stage.asked) == TURNS
    assert {key: value for key, value in (await site.everything_stored()).items() if key in before} == before
    assert {row.status for row in await site.rows(other.run_id)} == {"pending"}


# -- the claim is lost -------------------------------------------------------------------------------


async def taken_away(site, plan, worker="w2"):
    """Let the lease of the only trial end and another worker claim it."""
    await site.silence(plan.run_id)
    assert await site.manifest.expire(plan.run_id) == [0]
    return await site.manifest.claim(plan.run_id, 0, plan.trace_id(0), worker, lease_s=30)


async def test_an_attempt_whose_trial_went_to_another_counts_for_nothing(site):
    plan, message = await one_trial(site)
    site.stage.close(1)
    running = asyncio.create_task(attempt(message, site.bench("w1")))
    await site.stage.reached(1)
    await taken_away(site, plan)
    site.stage.open(1)
    await running
    assert await row_of(site, plan) == Row(0, "running", 2, plan.trace_id(0), worker="w2")
    assert len(await site.manifest.journaled(plan.run_id, 0)) == 1  # the turn in flight was not kept
    assert [event[1] for event in site.stage.asked] == [0, 1]
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == []


async def test_an_attempt_that_learns_of_its_loss_from_the_keeper_asks_for_no_further_turn(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1")
    site.stage.close(0)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(0)
    await taken_away(site, plan)
    await bench.leases.renew()
    site.stage.open(0)
    await running
    assert len(site.stage.asked) == 1
    assert len(bench.leases) == 0
    assert (await row_of(site, plan)).worker == "w2"


async def test_a_commit_that_comes_too_late_leaves_an_object_that_no_row_names(site):
    plan, message = await one_trial(site)
    fuse = Fuse()
    late = asyncio.Event()

    class Slow(Manifest):
        async def commit(self, *args):
            late.set()
            await taken_away(site, plan)
            return await super().commit(*args)

    slow = Slow(site.manifest.redis, site.manifest.address)
    await attempt(message, site.bench("w1", manifest=slow, store=fuse.on(site.store, "put_if_absent")))
    assert late.is_set()
    assert await row_of(site, plan) == Row(0, "running", 2, plan.trace_id(0), worker="w2")
    assert (await site.manifest.counts(plan.run_id)).ended == 0


# -- the worker dies or leaves -----------------------------------------------------------------------


async def died(message, bench):
    with pytest.raises(Killed):
        await attempt(message, bench)


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
@pytest.mark.parametrize("step", ["journal 1", "journal 2", "journal 3", "put_if_absent", "commit"])
async def test_a_worker_that_dies_at_any_write_is_followed_by_one_that_pays_only_for_the_rest(
    site, step, after
):
    plan, message = await one_trial(site)
    name, _, number = step.partition(" ")
    fuse = Fuse(int(number or 1), after=after)
    store, manifest = site.store, site.manifest
    if name == "put_if_absent":
        store = fuse.on(store, name)
    else:
        manifest = fuse.on(manifest, name)
    await died(message, site.bench("w1", store=store, manifest=manifest))
    await site.silence(plan.run_id)
    for index in await site.manifest.expire(plan.run_id):
        await attempt(plan.message(index), site.bench("w2"))
    await site.check(plan)
    row = await row_of(site, plan)
    if (name, after) == ("commit", True):
        assert (row.status, row.attempt) == ("passed", 1)  # it was over; only sealing is left to a sweep
    else:
        assert (row.status, row.attempt, row.result.worker) == ("passed", 2, "w2")
        assert await site.state(plan.run_id) == "sealed"
    lost = 1 if name == "journal" and not after else 0
    assert len(site.stage.asked) == TURNS + lost
    assert row.result.turns == TURNS


async def test_a_worker_that_dies_between_the_object_and_the_row_leaves_an_object_that_loses(site):
    plan, message = await one_trial(site)
    manifest = Fuse(1).on(site.manifest, "commit")
    await died(message, site.bench("w1", manifest=manifest))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await attempt(message, site.bench("w2"))
    row = await row_of(site, plan)
    assert row.attempt == 2
    assert [key async for key in site.store.list(keys.traces(plan.run_id))] == [
        keys.trace(plan.run_id, message.trace_id, attempt) for attempt in (1, 2)
    ]
    assert (await trace_of(site, plan)).attempt == 2
    await check_paid_once(site, plan)


async def test_an_attempt_number_that_comes_again_takes_the_trace_that_is_there(site):
    # As when Redis lost the last second in a power cut: the object is there, the claim is not.
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(1).on(site.manifest, "commit")))
    stored = await site.everything_stored()
    await site.manifest.redis.hset(
        redis_keys.manifest(plan.run_id), "0", Row(0, "pending", 0, message.trace_id).encode()
    )
    await site.manifest.redis.delete(
        redis_keys.leases(plan.run_id), redis_keys.journal(plan.run_id, 0), redis_keys.counters(plan.run_id)
    )
    await site.manifest.redis.hset(redis_keys.counters(plan.run_id), "pending", 1)
    await attempt(message, site.bench("w2"))
    row = await row_of(site, plan)
    assert (row.status, row.attempt, row.result.worker) == ("passed", 1, "w1")
    await site.check(plan)
    now = await site.everything_stored()
    assert {key: now[key] for key in stored} == stored


async def test_a_damaged_object_in_the_way_is_replaced(site):
    plan, message = await one_trial(site)
    key = keys.trace(plan.run_id, message.trace_id, 1)
    await site.store.put(key, b"half a tra")
    await attempt(message, site.bench())
    assert (await row_of(site, plan)).status == "passed"
    await site.check(plan)


async def test_a_worker_that_leaves_hands_the_trial_on_with_its_turns_and_a_message(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1")
    site.stage.close(1)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(1)
    bench.leases.leaving = True
    site.stage.open(1)
    await running
    assert await row_of(site, plan) == Row(0, "pending", 1, message.trace_id)
    assert site.outbox.waiting == [message]  # or the trial would wait until the queue of all runs is empty
    assert not await site.manifest.redis.exists(redis_keys.strikes(plan.run_id))
    await site.work(site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)
    trace = await trace_of(site, plan)
    assert [turn.attempt for turn in trace.turns] == [1, 1, 2]
    assert [turn.worker for turn in trace.turns] == ["w1", "w1", "w2"]


async def test_an_attempt_that_is_cancelled_gives_its_trial_back_at_once(site):
    plan, message = await one_trial(site)
    site.stage.close(1)
    bench = site.bench("w1")
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await row_of(site, plan) == Row(0, "pending", 1, message.trace_id)
    assert site.outbox.waiting == []  # its own message is not acknowledged, and so comes again
    assert len(bench.leases) == 0
    site.stage.open(1)
    await attempt(message, site.bench("w2"))
    await site.check(plan)
    assert len(site.stage.asked) == TURNS + 1  # only the turn in flight is paid again


async def test_a_trial_that_lost_too_many_workers_ends_as_infrastructure_with_what_was_paid(site):
    plan, message = await one_trial(site)
    for number in range(1, plan.attempts_max + 1):
        fuse = Fuse(1)
        await died(
            message,
            site.bench(f"w{number}", manifest=fuse.on(site.manifest, "journal" if number > 1 else "commit")),
        )
        await site.silence(plan.run_id)
        await site.manifest.expire(plan.run_id)
        await site.manifest.redis.ltrim(redis_keys.journal(plan.run_id, 0), 0, 0)
    asked = len(site.stage.asked)
    await attempt(message, site.bench("last"))
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, row.attempt) == ("infra_error", "worker_lost", 4)
    assert "3 workers in a row vanished" in trace.error.message
    assert len(trace.turns) == 1
    assert [message.role for message in trace.messages] == ["user", "assistant", "tool_result"]
    assert trace.usage.total_tokens == 150
    assert len(site.stage.asked) == asked
    await site.check(plan)


# -- the store or Redis fails ------------------------------------------------------------------------


class Outage:
    """A store that fails some of its writes, whatever they are.

    Args:
        store: Works again after the outage.
        failures: How many writes fail.
        error: How.
    """

    def __init__(self, store, failures, error=None):
        self._store = store
        self.left = failures
        self._error = error or StoreUnavailable("the store is down")

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def put_if_absent(self, key, body):
        if self.left:
            self.left -= 1
            raise self._error
        return await self._store.put_if_absent(key, body)


@pytest.mark.parametrize("error", [StoreUnavailable("down"), StoreRefused("disk full")])
async def test_a_store_that_fails_for_a_while_is_waited_for_and_no_turn_is_asked_again(site, error):
    plan, message = await one_trial(site)
    site.clock = StepClock()
    await attempt(message, site.bench(store=Outage(site.store, 8, error)))
    assert [wait for wait in site.clock.slept if wait] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_store_that_stays_down_gives_the_trial_back_with_its_turns_kept(site):
    plan, message = await one_trial(site)
    site.clock = StepClock()
    await attempt(message, site.bench(store=Outage(site.store, 10**6)))
    assert site.clock.time_s > PATIENCE_S
    assert (await row_of(site, plan)).status == "pending"
    assert len(await site.manifest.journaled(plan.run_id, 0)) == TURNS
    await attempt(message, site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_worker_that_leaves_does_not_wait_for_the_store(site):
    plan, message = await one_trial(site)
    bench = site.bench("w1", store=Outage(site.store, 10**6))
    site.stage.close(2)
    running = asyncio.create_task(attempt(message, bench))
    await site.stage.reached(2)
    site.stage.open(2)
    bench.leases.leaving = True
    await running
    assert (await row_of(site, plan)).status == "pending"
    await site.work(site.bench("w2"))
    await site.check(plan)
    await check_paid_once(site, plan)


async def test_a_plan_that_cannot_be_read_for_now_gives_the_trial_back_without_a_strike(site):
    plan, message = await one_trial(site)

    class Deaf(Outage):
        async def get(self, key):
            raise StoreUnavailable("the store is down")

    deaf = site.bench(store=Deaf(site.store, 0))
    for _ in range(5):
        await attempt(message, deaf)
    assert await row_of(site, plan) == Row(0, "pending", 5, message.trace_id)
    assert not await site.manifest.redis.exists(redis_keys.strikes(plan.run_id))
    assert site.outbox.waiting == []  # a sweep sends it again; at once would only burn the processor
    await attempt(message, site.bench())
    await site.check(plan)


async def test_a_redis_that_is_away_when_a_message_comes_is_no_crash(site, caplog):
    plan, message = await one_trial(site)
    url = f"redis://127.0.0.1:{free_port()}/0"
    away = Manifest(connect(url, retries_max=0), url)
    with caplog.at_level(logging.WARNING):
        await attempt(message, site.bench(manifest=away))
    assert "was not begun" in caplog.text
    assert "Traceback" not in caplog.text
    await away.aclose()
    await attempt(message, site.bench())
    await site.check(plan)


@pytest.mark.parametrize("name", ["journaled", "journal", "commit", "give_back"])
async def test_a_redis_that_fails_in_the_middle_stops_the_attempt_without_a_crash(site, name):
    plan, message = await one_trial(site)
    failing = Fuse(1, error=RedisUnavailable("gone"))
    bench = site.bench("w1", manifest=failing.on(site.manifest, name))
    if name == "give_back":
        bench.leases.leaving = True
    if name == "journaled":  # only asked for from the second attempt on
        await site.manifest.give_back(
            await site.manifest.claim(plan.run_id, 0, message.trace_id, "w0", lease_s=30)
        )
    await attempt(message, bench)
    assert failing.writes == [name]
    assert (await row_of(site, plan)).status == "running"  # until its lease runs out
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await attempt(message, site.bench("w2"))
    await site.check(plan)


async def test_a_run_that_cannot_be_sealed_yet_is_left_to_a_sweep_without_a_crash(site, caplog):
    plan, message = await one_trial(site)
    failing = Fuse(1, error=StoreUnavailable("down")).on(site.store, "put")
    await attempt(message, site.bench(store=failing))
    assert "not sealed yet" in caplog.text
    assert await site.state(plan.run_id) == "finished"
    assert await site.manifest.open_runs() == [plan.run_id]


# -- the order is gone, or cannot be carried out -----------------------------------------------------


async def check_infra_error(site, plan, kind, words):
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.outcome, row.result.error) == ("infra_error", "infra_error", kind)
    assert words in trace.error.message
    assert (trace.grade, trace.score, trace.findings) == (None, None, ())
    assert site.stage.asked == []
    return trace


async def test_a_trial_without_a_plan_ends_with_the_reason_and_a_trace(site):
    plan, message = await one_trial(site)
    await site.store.delete(keys.plan(plan.run_id))
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "store", "plan.json")
    assert trace.trace_id == message.trace_id


async def test_a_plan_of_another_shape_ends_the_trial_with_the_reason(site):
    from salvo_core.run.plan import SCHEMA
    from salvo_core.trace import codec

    plan, message = await one_trial(site)
    document = plan.model_dump(mode="json") | {"from_the_future": True}
    await site.store.put(keys.plan(plan.run_id), codec.encode(SCHEMA, document, compress=False)[0])
    await attempt(message, site.bench())
    await check_infra_error(site, plan, "store", "holds a plan that this Salvo cannot read")


@pytest.mark.parametrize(
    ("damage", "words"), [(None, "nothing is stored"), (b'{"schema":"salvo.sc', "is not a salvo.scenario/1")]
)
async def test_a_trial_whose_scenario_is_gone_or_damaged_ends_with_the_reason_and_the_run_is_sealed(
    site, damage, words
):
    plan, message = await one_trial(site)
    key = keys.scenario(plan.cells[0].scenario_digest)
    if damage is None:
        await site.store.delete(key)
    else:
        await site.store.put(key, damage)
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "store", words if damage else key)
    assert (trace.scenario.name, trace.model) == ("refund desk", "gpt-4o-mini")
    assert await site.state(plan.run_id) == "sealed"
    assert (await site.observer().summary(plan.run_id)).verdict == "INFRA_ERROR"


@pytest.mark.parametrize(
    ("adapter", "words"),
    [("opanai", "there is no adapter 'opanai'"), ("my_pkg.agent.Agent", "does not allow the adapter class")],
)
async def test_an_adapter_that_this_worker_does_not_have_ends_the_trial_with_the_reason(site, adapter, words):
    plan, message = await one_trial(site, scenarios=[loaded(adapter=adapter)])
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "adapter", words)
    assert trace.error.hint
    assert trace.cost_usd == 0.0  # nothing was asked for, so nothing was spent


async def test_what_was_paid_before_an_adapter_went_missing_is_still_in_the_record(site):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(2).on(site.manifest, "journal")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    bench = site.bench("w2")
    bench.orders._scenarios._tasks.clear()
    await site.store.delete(keys.scenario(plan.cells[0].scenario_digest))
    await attempt(message, bench)
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert row.result.error == "store"
    assert [turn.index for turn in trace.turns] == [0]
    assert (row.result.turns, row.result.input_tokens, trace.usage.total_tokens) == (1, 100, 150)


async def test_a_message_that_the_plan_would_not_send_is_not_believed(site):
    plan = await site.submit(order(2, [loaded(), loaded("b.yaml", description="second")]))
    lie = plan.message(1).model_copy(update={"cell": 0})
    await attempt(TrialMessage.model_validate(lie.model_dump()), site.bench())
    row = await row_of(site, plan, 1)
    assert row.status == "infra_error"
    assert site.stage.asked == []
    assert (await site.manifest.counts(plan.run_id)).per_cell.keys() == {1}  # its own cell, not the lie's


# -- mistakes of assertions and faults of ours -------------------------------------------------------


async def test_an_assertion_that_cannot_be_evaluated_is_a_finding_and_costs_neither_trace_nor_money(site):
    broken = {"type": "jmespath", "expression": "length(metadata.turn_count)", "operator": "gt", "value": 1}
    plan, message = await one_trial(site, scenarios=[loaded(assertions=[broken])])
    await attempt(message, site.bench())
    trace = await trace_of(site, plan)
    assert (trace.status, trace.outcome, trace.error) == ("failed", "completed", None)
    assert len(trace.turns) == TURNS
    (finding,) = trace.findings
    assert not finding.passed
    assert finding.error or finding.details


async def test_a_fault_of_ours_while_talking_ends_the_trial_at_once_and_says_so(site, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("a bug of ours")

    monkeypatch.setattr("salvo_core.trial.conversation.MockTools", broken)
    plan, message = await one_trial(site)
    await attempt(message, site.bench())
    trace = await check_infra_error(site, plan, "internal", "a bug of ours")
    assert trace.error.error_class == "KeyError"
    assert "Traceback" in caplog.text  # in the worker's log, for us
    assert await site.state(plan.run_id) == "sealed"


async def test_a_conversation_that_cannot_be_written_down_still_ends_in_a_row_with_its_costs(
    site, monkeypatch
):
    from salvo_core.evaluation import grading

    def broken(*_, **__):
        raise RecursionError("too deep")

    monkeypatch.setattr("salvo_core.record.evaluate", broken)
    plan, message = await one_trial(site)
    await attempt(message, site.bench())
    row, trace = await row_of(site, plan), await trace_of(site, plan)
    assert (row.status, row.result.error, trace.messages, trace.turns) == ("infra_error", "internal", (), ())
    assert row.result.input_tokens == 300
    assert grading.UNGRADED >= {trace.outcome}
    await site.check(plan)


async def test_arguments_nested_beyond_all_reason_are_the_agents_mistake(site):
    class Deep:
        """A team's own adapter, whose model answers such arguments once."""

        name = "deep"

        async def send_turn(self, messages, tools, config):
            nested = {}
            for _ in range(900):
                nested = {"d": nested}
            call = ToolCall(id="1", name="look_up", arguments=nested)
            return TurnReply(None, (call,)) if config.turn == 0 else TurnReply("No refund.")

        async def aclose(self):
            pass

    plan, message = await one_trial(site)
    bench = site.bench()
    bench.adapters.get = lambda name, script: Deep()
    await attempt(message, bench)
    trace = await trace_of(site, plan)
    assert (trace.status, trace.outcome, len(trace.turns)) == ("failed", "completed", 2)
    assert trace.tool_calls[0].malformed.startswith('{"d": {"d": ')
    assert trace.messages[2].tool_error


async def test_a_turn_of_a_newer_salvo_in_the_journal_is_asked_for_again(site, caplog):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(2, after=True).on(site.manifest, "journal")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await site.manifest.redis.lset(
        redis_keys.journal(plan.run_id, 0), 1, '{"index": 1, "from": "the future"}'
    )
    await attempt(message, site.bench("w2"))
    assert "turn 1 cannot be read" in caplog.text
    assert (await row_of(site, plan)).status == "passed"
    assert [turn for _, turn in site.stage.asked] == [0, 1, 1, 2]
    await site.check(plan)


# -- secrets, cancelling -----------------------------------------------------------------------------


async def test_assertions_see_what_was_said_and_what_is_stored_holds_no_secret(site):
    secret = "canary-8f1e2d3c4b5a"
    said = [{"text": f"ok token=999 and {secret}"}]
    checks = [
        {"type": "output_contains", "value": "token=999"},
        {"type": "output_contains", "value": secret[:-1]},
    ]
    plan, message = await one_trial(site, scenarios=[loaded(script={"turns": said}, assertions=checks)])
    bench = site.bench()
    bench.adapters.secrets = frozenset({secret})
    await attempt(message, bench)
    trace = await trace_of(site, plan)
    assert trace.status == "passed"
    assert trace.final_content == f"ok {MARKER} and {MARKER}"
    assert "token=999" not in trace.model_dump_json(exclude={"findings": {"__all__": {"label"}}})
    assert secret not in trace.model_dump_json()


async def test_a_cancelled_run_keeps_what_was_paid_and_begins_nothing_more(site):
    plan = await site.submit(order(4))
    bench = site.bench("w1")
    site.stage.close(1)
    running = asyncio.create_task(attempt(site.outbox.waiting.pop(0), bench))
    await site.stage.reached(1)
    given_back = plan.message(1)
    await site.manifest.give_back(
        await site.manifest.claim(plan.run_id, 1, given_back.trace_id, "w0", lease_s=30)
    )
    cancelled = await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (cancelled.changed, cancelled.state, cancelled.ended) == (True, "cancelling", 2)
    await bench.leases.renew()
    site.stage.open(1)
    await running
    await site.work()
    rows = await site.rows(plan.run_id)
    assert [row.status for row in rows] == ["cancelled"] * 4
    assert [bool(row.result) for row in rows] == [True, True, False, False]
    assert rows[0].result.turns == 2
    assert len(site.stage.asked) == 2
    await site.check(plan)
    assert await site.state(plan.run_id) == "sealed"
    again = await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    assert (again.changed, again.state, again.ended) == (False, "sealed", 0)


async def test_a_conversation_that_was_over_before_it_was_cancelled_is_graded(site):
    plan, message = await one_trial(site)
    await died(message, site.bench("w1", manifest=Fuse(1).on(site.manifest, "commit")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work(site.bench("w2"))
    assert (await row_of(site, plan)).status == "passed"
    await check_paid_once(site, plan)
    with pytest.raises(ObjectMissing):
        await site.store.get(keys.trace(plan.run_id, message.trace_id, 3))
