"""The system's clock: UTC for people, monotonic for measuring."""

from datetime import UTC

from salvo_core.clock import SystemClock


def test_wall_time_is_utc_and_measured_time_only_goes_forward():
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    readings = [clock.monotonic_s() for _ in range(100)]
    assert readings == sorted(readings)


async def test_a_sleep_lets_others_run_and_lasts_as_long_as_it_says():
    import asyncio

    clock, order = SystemClock(), []

    async def nap():
        before = clock.monotonic_s()
        await clock.sleep(0.01)
        order.append("nap")
        assert clock.monotonic_s() - before >= 0.009  # no less; how much more is the machine's business

    async def other():
        order.append("other")

    await asyncio.gather(nap(), other())
    assert order == ["other", "nap"]
