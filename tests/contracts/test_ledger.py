"""The books of a budget against a model: whatever happens in whatever order, they add up."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from salvo_core.identity import new_run_id, trace_id_for
from salvo_core.manifest.budget import NANO, Budget
from salvo_core.manifest.connection import connect
from salvo_core.manifest.ledger import Ledger
from salvo_core.manifest.live import Manifest
from salvo_core.manifest.rows import Result

pytestmark = pytest.mark.servers

TRIALS = 4
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, TRIALS - 1), st.integers(0, 60)),
        st.tuples(st.just("settle"), st.integers(0, TRIALS - 1), st.integers(0, 100)),
        st.tuples(st.just("lose"), st.integers(0, TRIALS - 1), st.just(0)),
        st.tuples(st.just("sweep"), st.just(0), st.just(0)),
        st.tuples(st.just("raise"), st.integers(0, 200), st.just(0)),
    ),
    max_size=30,
)


async def begun(manifest, budget):
    """Return a run under that budget whose every trial is claimed."""
    run_id = new_run_id()
    await manifest.open(run_id, total=TRIALS, cells=1, attempts_max=3, concurrency_max=None, name="a run")
    await manifest.seed(run_id, 0, [trace_id_for(run_id, index) for index in range(TRIALS)])
    await manifest.release(run_id, TRIALS)
    await Ledger(manifest).open(run_id, budget)
    return run_id, [await claimed(manifest, run_id, index) for index in range(TRIALS)]


async def claimed(manifest, run_id, index):
    return await manifest.claim(run_id, index, trace_id_for(run_id, index), "w1", lease_s=60)


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_what_is_spent_and_set_aside_never_exceeds_the_limit_and_adds_up(redis_url, steps):
    """A unit is a nano-dollar and a token at once; bills never exceed what was set aside for them."""
    manifest = Manifest(connect(redis_url), redis_url)
    ledger = Ledger(manifest)
    limit, spent, open_now, lost = 100, 0, {}, {}
    run_id, claims = await begun(manifest, Budget(usd_max=limit / NANO, tokens_max=limit))
    number = 0
    for what, one, amount in steps:
        if what == "raise":
            limit = max(limit, one)
            await ledger.raise_to(run_id, Budget(usd_max=one / NANO, tokens_max=one), TRIALS)
        elif what == "reserve":
            number += 1
            name = ledger.name(claims[one], number, "judge" if amount % 2 else "agent")
            terms = Budget(usd_max=1.0, tokens_max=1)  # the plan's, which Redis knows better
            answers = {await ledger.reserve(claims[one], terms, name, amount / NANO, amount) for _ in "ab"}
            held = sum(open_now.values()) + sum(lost.values())
            fits = spent + amount <= limit, spent + held + amount <= limit
            # Asked twice, as after a reply that was lost.
            assert answers == {"granted" if all(fits) else "wait" if fits[0] else "spent"}
            if all(fits):
                open_now[name] = amount
        elif what == "settle" and (mine := [n for n in open_now if n.startswith(f"{one}:")]):
            billed = open_now.pop(mine[0]) * amount // 100
            assert await ledger.settle(run_id, mine[0], (billed / NANO, billed))
            assert not await ledger.settle(run_id, mine[0], (billed / NANO, billed))
            spent += billed
        elif what == "lose":
            await manifest.give_back(claims[one])
            lost |= {n: open_now.pop(n) for n in list(open_now) if n.startswith(f"{one}:")}
            again = await claimed(manifest, run_id, one)
            claims[one] = again
        elif what == "sweep":
            assert await ledger.settle_lost(run_id) == len(lost)
            spent += sum(lost.values())
            lost = {}
        books = (await manifest.counts(run_id)).budget
        held = sum(open_now.values()) + sum(lost.values())
        assert (books.spent_tokens, books.reserved_tokens) == (spent, held)
        assert round(books.spent_usd * NANO) == spent
        assert round(books.reserved_usd * NANO) == held
        assert spent + held <= limit
    await manifest.aclose()


async def test_an_attempt_that_lost_its_trial_reserves_nothing(redis_url):
    manifest = Manifest(connect(redis_url), redis_url)
    ledger, budget = Ledger(manifest), Budget(tokens_max=100)
    run_id, claims = await begun(manifest, budget)
    await manifest.give_back(claims[0])
    assert await ledger.reserve(claims[0], budget, "0:1:0:agent", 0.0, 10) == "lost"
    assert (await manifest.counts(run_id)).budget.reserved_tokens == 0
    await manifest.aclose()


async def test_books_that_redis_lost_begin_with_what_finished_trials_cost(redis_url):
    manifest = Manifest(connect(redis_url), redis_url)
    ledger, budget = Ledger(manifest), Budget(tokens_max=100)
    run_id, claims = await begun(manifest, budget)
    result = Result(1.0, 0.0, 0.0, 0.0, 60, 20, 1, 0, "completed", "", "w1", "d" * 64)
    await manifest.commit(claims[0], 0, "passed", result)
    await manifest.redis.delete(f"salvo:{{{run_id}}}:budget", f"salvo:{{{run_id}}}:reservations")
    assert await ledger.reserve(claims[1], budget, "1:1:0:agent", 0.0, 21) == "spent"
    assert await ledger.reserve(claims[1], budget, "1:1:0:agent", 0.0, 20) == "granted"
    await manifest.aclose()
