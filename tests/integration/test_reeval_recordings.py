"""Re-evaluation of what records do not keep: struck out, or without content altogether."""

import pytest

from salvo_core.reevaluate import NotComparable
from salvo_core.store import keys
from salvo_core.store.memory import MemoryStore
from salvo_core.trace.recording import Recording
from tests.integration.reevaluating import again, ordered, ran, records
from tests.integration.site import Site, loaded

pytestmark = pytest.mark.servers

BARE = Recording(mode="metadata_only")
SPOKEN = {"type": "output_contains", "value": "refund"}
CALLED = {"type": "tool_called", "tool": "look_up"}
FAST = {"type": "latency_limit", "max_seconds": 60}
CANARY = "canary-4b1d"


@pytest.fixture
async def site(redis_url):
    made = Site(redis_url, MemoryStore())
    yield made
    await made.aclose()


async def stored_text(site, prefix):
    from salvo_core.trace.codec import DOCUMENT_BYTES_MAX, _decompress

    found = [key async for key in site.store.list(prefix)]
    texts = [_decompress(await site.store.get(key), key, DOCUMENT_BYTES_MAX) for key in found]
    return b"".join(texts).decode()


async def test_t61_a_finding_on_what_was_struck_out_stands_and_says_so(site):
    answer = {"turns": [{"text": "ok token=abcdef999"}]}
    said = {"type": "output_contains", "value": "token=abcdef999"}
    scenario = loaded(script=answer, assertions=[said, {"type": "output_contains", "value": "ok"}])
    plan = await ran(site, trials=1, scenarios=[scenario])
    assert [row.status for row in await site.rows(plan.run_id)] == ["passed"]
    for given in ((), (scenario,)):
        reeval, compared = await again(site, plan.run_id, *given)
        assert (compared.flipped, compared.verdict_after) == (0, "PASS")
        (record,) = await records(site, reeval)
        assert [one.redaction_affected for one in record.after.findings] == [True, False]
        assert record.kept == (0, 1)
    edited = loaded(script=answer, assertions=[said | {"value": "ok token=abcdef999"}])
    reeval, compared = await again(site, plan.run_id, edited)
    (record,) = await records(site, reeval)
    assert record.after.findings[0].redaction_affected  # checked on what is stored, and that is told
    told = [(reason.why, reason.what) for reason in compared.flips[0].reasons]
    label = record.after.findings[0].label
    assert told == [("newly_failing", label), ("struck_out", label)]
    assert "abcdef999" not in await stored_text(site, f"reevals/{reeval.run_id}/")


async def test_t65_assertions_that_need_what_is_not_kept_are_named_skipped_or_all_there_is(site):
    plan = await ran(site, trials=2, scenarios=[loaded(assertions=[SPOKEN, FAST])], recording=BARE)
    for ref in (plan.run_id, plan.trace_id(0)):
        with pytest.raises(NotComparable, match=r"1 of 2 assertions need.*`output_contains`") as refused:
            await ordered(site, ref)
        assert refused.value.exit_code == 1
        reeval, compared = await again(site, ref, allow_partial=True)
        assert compared.verdict_after == "PASS"
        assert compared.cells[0].left_out == ("output_contains",)
        for record in await records(site, reeval):
            assert (record.left_out, record.recording) == ((0,), "metadata_only")
            assert [one.assertion for one in record.after.findings] == [1]
    only = await ran(site, trials=1, scenarios=[loaded(assertions=[SPOKEN])], recording=BARE)
    for allowed in (False, True):
        with pytest.raises(NotComparable, match="every assertion needs"):
            await ordered(site, only.run_id, allow_partial=allowed)
    bare = await ran(site, trials=1, scenarios=[loaded(assertions=[])], recording=BARE)
    _, compared = await again(site, bare.run_id)
    assert compared.verdict_after == "PASS"


async def test_a_query_over_metadata_needs_no_content(site):
    quick = {"type": "jmespath", "expression": "metadata.turn_count", "operator": "eq", "value": 3}
    plan = await ran(site, trials=1, scenarios=[loaded(assertions=[CALLED])], recording=BARE)
    _, compared = await again(site, plan.run_id, loaded(assertions=[CALLED, quick]))
    assert compared.verdict_after == "PASS"
    _, compared = await again(site, plan.run_id, loaded(assertions=[CALLED, quick | {"value": 4}]))
    assert compared.verdict_after == "FAIL"


async def test_a_re_evaluation_of_a_run_without_content_keeps_none_either(site):
    plan = await ran(site, trials=1, scenarios=[loaded(assertions=[SPOKEN, FAST])], recording=BARE)
    given = loaded(
        description="desk",
        prompt=f"Refund {CANARY}.",
        assertions=[{"type": "output_contains", "value": CANARY}, FAST | {"max_seconds": 0.0}],
    )
    reeval, compared = await again(site, plan.run_id, given, allow_partial=True)
    assert compared.verdict_after == "FAIL"
    assert CANARY not in await stored_text(site, "")
    assert not [key async for key in site.store.list(keys.ORDERS)]
    for name in await site.manifest.redis.keys("*"):
        if await site.manifest.redis.type(name) == "hash":
            assert CANARY not in str(await site.manifest.redis.hgetall(name))
    assert CANARY not in name
    (record,) = await records(site, reeval)
    assert [one.label for one in record.after.findings] == ["latency_limit"]


async def test_a_scenario_that_holds_a_secret_is_judged_by_and_not_kept(site):
    secret = "sk-proj-bbbbbbbbbbbbbbbbbbbbbbbb"
    plan = await ran(site, trials=1)
    given = loaded(assertions=[{"type": "output_contains", "value": secret}])
    reeval, compared = await again(site, plan.run_id, given)
    assert reeval.cells[0].withheld
    assert compared.verdict_after == "FAIL"
    assert secret not in await stored_text(site, "")


async def test_a_withheld_scenario_is_judged_by_again_from_what_is_kept_of_it(site):
    secret = "sk-proj-cccccccccccccccccccccccc"
    scenario = loaded(assertions=[SPOKEN, {"type": "output_contains", "value": secret}], threshold=0.5)
    plan = await ran(site, trials=1, scenarios=[scenario])
    reeval, compared = await again(site, plan.run_id)
    assert (compared.flipped, compared.verdict_after) == (0, "PASS")
    (record,) = await records(site, reeval)
    assert record.kept == (0, 1)
    await site.store.delete(keys.snapshot(plan.run_id, plan.cells[0].scenario_digest))
    assert (await site.observer().snapshot(reeval.run_id, 0)).assertions  # the re-evaluation has its own
