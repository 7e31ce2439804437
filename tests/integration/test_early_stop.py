"""Stopping a cell early: what runs, what is skipped, and who finishes it when its worker dies half way."""

import asyncio

import pytest

from salvo_core.cancel import cancel
from salvo_core.errors import RedisUnavailable
from salvo_core.manifest.rows import SCORED
from salvo_core.observe import Observer
from salvo_core.resume import resume
from salvo_core.run.curtailer import Curtailer
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.submit import make_plan, open_run, spread
from salvo_core.sweep import Sweeper
from tests.integration.site import NOW, Fuse, Killed, Site, loaded, order
from tests.unit.trial.builders import StepClock

pytestmark = pytest.mark.servers

GOOD, BAD = [{"text": "good"}], [{"text": "bad"}]
REFUSED = [{"text": "", "error": {"kind": "authentication"}}]
STILL_S = 5.0


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


def says(*trials, required=False, name="desk"):
    """A scenario whose trials say these things, the last of them for ever."""
    return loaded(
        f"{name}.yaml",
        description=name,
        tools=[],
        assertions=[{"type": "output_contains", "value": "good", "required": required}],
        script={"turns": trials[-1], "trials": list(trials)},
    )


async def submitted(site, trials, *scenarios, at_once=1):
    return await site.submit(order(trials, scenarios, concurrency_max=at_once, early_stop=True))


async def words(site, plan, cell=0):
    """Return a cell's trials, in order, each with its reason if it was skipped."""
    return [
        row.reason or row.status for row in await site.rows(plan.run_id) if plan.cell_index(row.index) == cell
    ]


async def sealed(site, plan):
    assert await site.state(plan.run_id) == "sealed"
    await site.check(plan)
    return await Observer(site.store, site.manifest).summary(plan.run_id)


async def test_t42_ten_trials_of_nothing_are_decided_after_exactly_three(site):
    plan = await submitted(site, 10, says(BAD))
    await site.work()
    assert await words(site, plan) == ["failed"] * 3 + ["decided"] * 7
    assert len(site.stage.asked) == 3
    assert site.outbox.indices(plan.run_id) == {0, 1, 2}
    summary = await sealed(site, plan)
    (cell,) = summary.cells
    assert (cell.early_stop.after, cell.early_stop.rule, cell.skipped) == (3, "unreachable", {"decided": 7})
    assert (cell.verdict, summary.exit_code, cell.counts["skipped"]) == ("FAIL", 1, 7)
    assert cell.reason.endswith("; stopped early after 3 of 10 trials, 7 skipped")


async def test_without_it_every_trial_runs(site):
    plan = await site.submit(order(10, [says(BAD)], concurrency_max=1))
    await site.work()
    assert await words(site, plan) == ["failed"] * 10
    assert (await sealed(site, plan)).cells[0].early_stop is None


async def test_t43_an_infrastructure_error_does_not_end_a_cell_that_can_still_be_judged(site):
    plan = await submitted(site, 3, says(REFUSED, GOOD))
    await site.work()
    assert await words(site, plan) == ["infra_error", "passed", "passed"]
    summary = await sealed(site, plan)
    assert (summary.exit_code, summary.exit_code_allow_infra) == (3, 0)


async def test_trials_under_way_finish_and_count(site):
    plan = await submitted(site, 10, says(GOOD, BAD, required=True), at_once=4)
    site.stage.close(0)
    working = asyncio.create_task(site.work())
    await site.stage.reached(0)
    while len(site.stage.asked) < 4:
        await asyncio.sleep(0)
    site.stage.open(0)
    await working
    rows = await words(site, plan)
    assert rows[:4] == ["passed", "hard_fail", "hard_fail", "hard_fail"]
    # Others may have begun between the ends of the first and the second; none after that.
    ran = sum(word in SCORED for word in rows)
    assert rows[ran:] == ["decided"] * (10 - ran)
    assert 4 <= ran < 10
    (cell,) = (await sealed(site, plan)).cells
    assert (cell.early_stop.after, cell.early_stop.rule, cell.scored) == (2, "hard_fail", ran)
    assert (cell.verdict, cell.counts["hard_fail"]) == ("HARD FAIL", ran - 1)


async def test_the_order_in_which_trials_end_does_not_decide(site):
    # Trials 2 and 3 fail hard and end first; the cell goes on until 0 and 1 have ended, too.
    plan = await submitted(site, 6, says(GOOD, BAD, required=True), at_once=4)
    bench = site.bench()
    waiting, site.outbox.waiting = site.outbox.waiting, []
    for index, more in ((3, True), (2, True), (1, True), (0, False)):
        site.outbox.waiting = [waiting[index]]
        await site.work_one(bench)
        begun = await words(site, plan)
        assert ("pending" in begun) == more, begun
    assert await words(site, plan) == ["passed"] + ["hard_fail"] * 3 + ["decided"] * 2
    assert (await sealed(site, plan)).cells[0].early_stop.after == 2


async def test_other_cells_go_on_one_at_a_time(site):
    plan = await submitted(site, 8, says(BAD, name="a"), says(GOOD, name="b"), says(BAD, name="c"))
    running_max = 0

    class Watched(type(site.outbox)):
        async def publish(self, *sent):
            nonlocal running_max
            sent = await super().publish(*sent)
            running_max = max(running_max, len(self.waiting))
            return sent

    site.outbox.__class__ = Watched
    await site.work(at_once=1)
    assert running_max == 1
    assert await words(site, plan, 0) == ["failed"] * 2 + ["decided"] * 6
    assert await words(site, plan, 1) == ["passed"] * 8
    assert await words(site, plan, 2) == ["failed"] * 2 + ["decided"] * 6
    summary = await sealed(site, plan)
    assert [cell.verdict for cell in summary.cells] == ["FAIL", "PASS", "FAIL"]
    assert [cell.early_stop is None for cell in summary.cells] == [False, True, False]


async def test_each_row_is_read_about_twice_however_many_trials_there_are(site):
    plan = await submitted(site, 60, says(GOOD))
    read = []

    class Counting(type(site.manifest)):
        async def rows_at(self, run_id, indices):
            read.extend(indices)
            return await super().rows_at(run_id, indices)

    site.manifest.__class__ = Counting
    await site.work(at_once=1)
    assert len(read) <= 3 * plan.total  # twice, and once more when the run is sealed
    await sealed(site, plan)


# -- who dies where ----------------------------------------------------------------------------------


def sweeper(site):
    clock = StepClock()
    made = Sweeper(site.store, site.manifest, site.outbox, clock, still_s=STILL_S)

    async def stands_still():
        await made.sweep()
        clock.time_s += STILL_S
        await made.sweep()

    return stands_still


@pytest.mark.parametrize(
    ("call", "after"), [("commit", True), ("rows_at", True), ("skip_rows", False), ("skip_rows", True)]
)
async def test_a_sweep_ends_the_cell_whose_worker_died_before_during_or_after_skipping(site, call, after):
    plan = await submitted(site, 10, says(BAD))
    bench = site.bench()
    await site.work_one(bench)
    await site.work_one(bench)
    fuse = Fuse(1, after=after)
    # A process of its own, which has read nothing yet and dies at its third trial.
    dying = site.bench("w2", manifest=fuse.on(site.manifest, call))
    with pytest.raises(Killed):
        await site.work_one(dying)
    assert fuse.writes == [call]
    await sweeper(site)()
    await site.work()
    assert await words(site, plan) == ["failed"] * 3 + ["decided"] * 7
    assert len(site.stage.asked) == 3
    assert (await sealed(site, plan)).cells[0].early_stop.after == 3


async def test_the_next_trial_of_the_cell_ends_it_when_the_decision_was_missed(site):
    plan = await submitted(site, 10, says(BAD), at_once=2)
    fuse = Fuse(1, error=RedisUnavailable("gone for a moment"))
    bench = site.bench(manifest=fuse.on(site.manifest, "skip_rows"))
    await site.work(bench, at_once=1)
    assert fuse.writes == ["skip_rows"] * 2
    assert await words(site, plan) == ["failed"] * 4 + ["decided"] * 6
    assert (await sealed(site, plan)).cells[0].early_stop.after == 3


async def test_a_cell_decided_during_its_submission_skips_the_rows_that_come_later(site, monkeypatch):
    plan = make_plan(order(10, [says(BAD)], concurrency_max=1, early_stop=True), now=NOW)
    monkeypatch.setattr("salvo_core.submit.ROWS_PER_CALL", 4)
    fuse = Fuse(2)
    await site.submit(order(1, [says(BAD)]))  # leaves the frozen scenario
    site.outbox.waiting.clear()
    await site.store.put(keys.plan(plan.run_id), plan.encode()[0])
    await open_run(plan, site.manifest)
    with pytest.raises(Killed):
        await spread(plan, manifest=fuse.on(site.manifest, "seed"), dispatcher=site.outbox)
    # The submitter is gone after four rows. Trials that end before all rows are there release no others,
    # so these are released one by one as its next windows would have done.
    for _ in range(3):
        await site.work(at_once=1)
        released = await site.manifest.release(plan.run_id, 1)
        await site.outbox.publish(plan.message(index) for index in released)
    assert (await words(site, plan))[:4] == ["failed"] * 3 + ["decided"]
    await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work()
    ran = sum(word == "failed" for word in await words(site, plan))
    assert ran <= 4  # the first trial of a later window is what notices
    assert set(await words(site, plan)) == {"failed", "decided"}
    await sealed(site, plan)


async def test_resume_and_cancel_leave_decided_rows_alone(site):
    plan = await submitted(site, 6, says(BAD, name="a"), says(GOOD, name="b"))
    bench = site.bench()
    for _ in range(4):
        await site.work_one(bench)
    assert await words(site, plan, 0) == ["failed"] * 2 + ["decided"] * 4
    await site.manifest.pause(plan.run_id)
    await resume(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await cancel(plan.run_id, store=site.store, manifest=site.manifest, dispatcher=site.outbox)
    await site.work()
    assert await words(site, plan, 0) == ["failed"] * 2 + ["decided"] * 4
    assert set(await words(site, plan, 1)) == {"passed", "cancelled"}
    summary = await sealed(site, plan)
    assert summary.cells[0].skipped == {"decided": 4}
    assert [cell.verdict for cell in summary.cells] == ["FAIL", "INCONCLUSIVE"]


async def test_a_process_remembers_its_place_in_a_bounded_number_of_runs(site, monkeypatch):
    monkeypatch.setattr("salvo_core.run.curtailer.RUNS_REMEMBERED", 2)
    curtailer = Curtailer(site.manifest)
    plans = [await submitted(site, 2, says(GOOD)) for _ in range(4)]
    for plan in plans:
        assert not (await curtailer.look(plan, 0)).decided
    assert len(curtailer._runs) == 2
