"""Runs whose scenario may not stay in the store: where it lies meanwhile, and that it goes for certain."""

import asyncio

import pytest

from salvo_core.attempt import attempt
from salvo_core.errors import StoreUnavailable
from salvo_core.replay import NotReplayable, comparable, replay_run
from salvo_core.resume import resume
from salvo_core.run.forgetting import ABANDONED_S, forget_abandoned
from salvo_core.run.orders import Orders
from salvo_core.run.withholding import keep_scenarios
from salvo_core.seal import seal
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import Order, make_plan
from salvo_core.sweep import Sweeper
from salvo_core.trace.recording import EXCLUDED, Recording
from tests.integration.site import NOW, Fuse, Killed, Site, loaded, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

KEY = "sk-abcdefghij0123456789"
SECRET = {"prompt": f"Refund order A-1001 with {KEY}."}
BARE = Recording(mode="metadata_only")
LATER_S = ABANDONED_S + 1


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


def secret_order(trials=2, **fields):
    """An order of a scenario with a key in its prompt."""
    return order(trials, [loaded(**SECRET)], **fields)


async def stored(site, prefix=""):
    return [key async for key in site.store.list(prefix)]


async def bodies(site):
    import zstandard

    found = [await site.store.get(key) for key in await stored(site)]
    return [zstandard.decompress(one) if one.startswith(b"\x28\xb5\x2f\xfd") else one for one in found]


async def check_clean(site, plan):
    """Assert that the run is sealed, that its report is whole, and that the key is nowhere."""
    assert await site.state(plan.run_id) == "sealed"
    assert await stored(site, keys.ORDERS) == []
    assert not [one for one in await bodies(site) if KEY.encode() in one]
    assert (await site.observer().summary(plan.run_id)).verdict == "PASS"


# -- where it lies -----------------------------------------------------------------------------------


async def test_an_ordinary_scenario_lies_under_its_digest_for_all_runs(site):
    plan = await site.submit(order(1))
    assert not plan.cells[0].withheld
    assert await stored(site) == sorted(
        [keys.plan(plan.run_id), keys.scenario(plan.cells[0].scenario_digest)]
    )


async def test_a_withheld_scenario_lies_apart_until_its_run_is_sealed(site):
    plan = await site.submit(secret_order())
    (cell,) = plan.cells
    assert cell.withheld
    assert await stored(site) == sorted(
        [
            keys.plan(plan.run_id),
            keys.order(plan.run_id, cell.scenario_digest),
            keys.snapshot(plan.run_id, cell.scenario_digest),
        ]
    )
    assert KEY.encode() not in plan.encode()[0]
    assert KEY in (await Orders(site.store).scenario(plan, cell)).prompt
    await site.work()
    await site.check(plan)
    await check_clean(site, plan)
    snapshot = await site.observer().snapshot(plan.run_id, 0)
    assert snapshot.scenario.prompt == "Refund order A-1001 with [REDACTED]."
    assert snapshot.assertions == tuple(loaded().scenario.assertions)


async def test_the_agent_is_asked_what_was_ordered_and_the_record_says_what_may_be_kept(site):
    asked = []

    class Listening(type(site.bench().adapters)):
        def get(self, name, script=None):
            inner = super().get(name, script)
            send = inner.send_turn

            async def send_turn(messages, tools, config):
                asked.append(messages[0].content)
                return await send(messages, tools, config)

            inner.send_turn = send_turn
            return inner

    bench = site.bench()
    bench.adapters.__class__ = Listening
    plan = await site.submit(secret_order(1))
    await site.work(bench)
    assert set(asked) == {SECRET["prompt"]}
    trace = await site.trace_of((await site.rows(plan.run_id))[0], plan.run_id)
    assert trace.messages[0].content == "Refund order A-1001 with [REDACTED]."
    assert trace.redacted


async def test_names_tags_and_labels_are_redacted_in_the_plan():
    given = loaded(
        description=f"uses {KEY}",
        tags={"team": "refunds", "token": "t0p"},
        assertions=[{"type": "output_contains", "value": f"{'x' * 55}{KEY}"}],
    )
    plan = make_plan(Order([given], labels={"note": KEY}), now=NOW)
    assert KEY[:12].encode() not in plan.encode()[0]  # nor the half that a label has room for
    assert plan.cells[0].scenario_name == "uses [REDACTED]"
    assert plan.cells[0].tags == {"team": "refunds", "token": "[REDACTED]"}
    assert plan.labels == {"note": "[REDACTED]"}


async def test_what_the_submitter_knows_or_its_project_names_is_struck_out_too():
    given = loaded(prompt="Open with swordfish-7 and CARD-99.")
    recording = Recording(patterns=("CARD-[0-9]+",))
    told = make_plan(Order([given], recording=recording, secrets=frozenset({"swordfish-7"})), now=NOW)
    assert told.cells[0].withheld
    assert b"swordfish" not in told.encode()[0]
    assert "swordfish" not in repr(Order([loaded()], secrets=frozenset({"swordfish-7"})))


async def test_without_content_a_scenario_is_named_by_its_file_never_by_its_prompt():
    def name(**fields):
        ordered = Order([loaded("desk/refund.yaml", **fields)], recording=BARE)
        return make_plan(ordered, now=NOW).cells[0].scenario_name

    assert name() == "refund desk"
    assert name(description="") == "refund"
    nameless = Order([loaded("", description="")], recording=BARE)
    plan = make_plan(nameless, now=NOW)
    assert plan.cells[0].scenario_name == f"scenario {plan.cells[0].scenario_digest[:12]}"
    assert plan.cells[0].assertions == ("tool_sequence", "output_contains")


# -- without content ---------------------------------------------------------------------------------


async def test_t59_without_content_a_sealed_run_is_reported_and_replayed_as_it_was(site):
    plan = await site.submit(order(2, recording=BARE))
    await site.work()
    await site.check(plan)
    summary = await site.observer().summary(plan.run_id)
    assert summary.verdict == "PASS"
    assert (await replay_run(plan.run_id, site.observer())).summary == summary
    trace = await site.trace_of((await site.rows(plan.run_id))[0], plan.run_id)
    assert (trace.recording, trace.final_content, trace.grade) == ("metadata_only", EXCLUDED, "passed")
    assert [one.redaction_affected for one in trace.findings] == [False, True]
    with pytest.raises(NotReplayable, match="metadata_only"):
        await comparable(trace, site.observer())


async def test_failures_keep_their_weights_when_the_words_of_their_assertions_are_gone(site):
    fails = {"type": "output_contains", "value": "no such word", "weight": 3, "required": True}
    plan = await site.submit(order(2, [loaded(assertions=[fails])], recording=BARE))
    await site.work()
    sealed = await site.observer().summary(plan.run_id)
    (failure,) = sealed.cells[0].failures
    assert (failure.label, failure.weight, failure.required, failure.fail_count) == (
        "output_contains", 3, True, 2,
    )  # fmt: skip
    assert (await replay_run(plan.run_id, site.observer())).summary == sealed


async def test_turns_whose_plan_is_gone_are_kept_without_their_words(site):
    plan = await site.submit(order(1))
    (message,) = site.outbox.waiting
    with pytest.raises(Killed):
        await attempt(message, site.bench("w1", manifest=Fuse(2).on(site.manifest, "journal")))
    await site.silence(plan.run_id)
    await site.manifest.expire(plan.run_id)
    await site.store.delete(keys.plan(plan.run_id))
    await attempt(message, site.bench("w2"))
    trace = await site.trace_of((await site.rows(plan.run_id))[0], plan.run_id)
    assert (trace.recording, trace.turns[0].tool_calls[0].arguments) == ("metadata_only", {})
    assert trace.turns[0].usage.total_tokens > 0
    assert "plan.json" in trace.error.message  # Salvo's own words stay


async def test_a_fault_in_a_run_without_content_is_logged_without_its_words(site, monkeypatch, caplog):
    def broken(*_, **__):
        raise ValueError(f"cannot read {KEY}")

    monkeypatch.setattr("salvo_core.attempt.converse", broken)
    await site.submit(order(1, recording=BARE))
    await site.work()
    (fault,) = [one.getMessage() for one in caplog.records if "fault of Salvo's own" in one.getMessage()]
    assert "ValueError, whose words the run does not keep" in fault
    assert "test_recording.py" in fault
    caplog.clear()
    await site.submit(order(1))
    await site.work()
    (fault,) = [one.getMessage() for one in caplog.records if "fault of Salvo's own" in one.getMessage()]
    assert "ValueError: cannot read [REDACTED]" in fault


# -- dying half way ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_submission_that_died_without_a_plan_leaves_nothing_for_long(site, step, after):
    fuse = Fuse(step, after=after)
    with pytest.raises(Killed):
        await site.submit(secret_order(), store=fuse.on(site.store, "put_if_absent"))
    planned = [key for key in await stored(site, keys.RUNS) if key.endswith("plan.json")]
    assert await forget_abandoned(NOW.timestamp(), site.store) == 0  # it may still be at it
    await forget_abandoned(made_s(await stored(site)) + LATER_S, site.store)
    if planned:  # the run is ordered, and whoever resumes it needs the order
        assert step == 3
        assert len(await stored(site, keys.ORDERS)) == 1
    else:
        assert await stored(site) == []


def made_s(found):
    from salvo_core.identity import created_s

    return created_s(found[0].split("/")[1]) if found else NOW.timestamp()


async def test_an_abandoned_order_is_found_by_a_workers_sweep(site):
    plan = make_plan(secret_order(), now=NOW)
    scenarios = {one.digest: one.scenario for one in secret_order().scenarios}
    await keep_scenarios(plan, scenarios, secret_order().redactor, site.store)
    clock = StepClock()
    sweeper = Sweeper(site.store, site.manifest, site.outbox, clock)
    await sweeper.sweep()
    assert len(await stored(site, keys.ORDERS)) == 1
    later_s = made_s(await stored(site, keys.ORDERS)) + LATER_S
    clock.now = lambda: NOW.fromtimestamp(later_s, NOW.tzinfo)
    await sweeper.sweep()  # it has just looked
    assert len(await stored(site, keys.ORDERS)) == 1
    clock.time_s += 601
    await sweeper.sweep()
    assert await stored(site) == []


async def test_a_submitter_that_was_taken_for_dead_writes_its_order_again(site):
    class Asleep:
        """The store as a submitter sees it that sleeps for hours before it writes the plan."""

        def __getattr__(self, name):
            return getattr(site.store, name)

        async def put_if_absent(self, key, body):
            if key.endswith("plan.json"):
                await forget_abandoned(made_s([key]) + LATER_S, site.store)
                assert await stored(site) == []
            return await site.store.put_if_absent(key, body)

    plan = await site.submit(secret_order(), store=Asleep())
    await site.work()
    await check_clean(site, plan)


@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_sealing_that_dies_at_the_deletion_is_done_again_by_a_sweep(site, after):
    plan = await site.submit(secret_order())
    dying = site.bench(store=Fuse(1, after=after).on(site.store, "delete"))
    with pytest.raises(Killed):
        await site.work(dying, at_once=1)
    assert await site.state(plan.run_id) == "finished"
    await Sweeper(site.store, site.manifest, site.outbox, StepClock()).sweep()
    await check_clean(site, plan)
    assert await seal(plan.run_id, store=site.store, manifest=site.manifest) is not None
    await check_clean(site, plan)


async def test_a_store_that_does_not_delete_keeps_the_run_from_being_sealed_until_it_does(site):
    plan = await site.submit(secret_order())
    failing = Fuse(1, error=StoreUnavailable("away")).on(site.store, "delete")
    await site.work(site.bench(store=failing))
    assert await site.state(plan.run_id) == "finished"
    await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await check_clean(site, plan)


# -- the same order twice ----------------------------------------------------------------------------


async def test_a_late_submitter_with_the_same_key_writes_nothing_after_the_seal(site):
    plan = await site.submit(secret_order(idempotency_key="nightly"))
    await site.work()
    before = await site.everything_stored()
    again = await site.submit(secret_order(idempotency_key="nightly"))
    assert again == plan
    assert await site.everything_stored() == before


async def test_submitters_at_once_leave_one_run_and_no_order_behind(site):
    plans = await asyncio.gather(*(site.submit(secret_order(idempotency_key="k")) for _ in range(5)))
    assert len({plan.run_id for plan in plans}) == 1
    await site.work()
    await check_clean(site, plans[0])


async def test_a_submitter_that_comes_second_when_the_run_is_over_takes_its_order_back(site):
    first = await site.submit(secret_order(idempotency_key="k"))
    await site.work()
    order_key = keys.order(first.run_id, first.cells[0].scenario_digest)

    class Late:
        """The store as the second saw it before the first had written its plan."""

        looked = False

        def __getattr__(self, name):
            return getattr(site.store, name)

        async def get(self, key):
            if key == keys.plan(first.run_id) and not self.looked:
                self.looked = True
                return await site.store.get(keys.plan("0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"))
            if key == keys.summary(first.run_id):
                assert await stored(site, keys.ORDERS) == [order_key]
            return await site.store.get(key)

    again = await site.submit(secret_order(idempotency_key="k"), store=Late())
    assert again == first
    await check_clean(site, first)
