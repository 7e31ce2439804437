"""What the doctor thinks of a server, from what the server says of itself."""

import pytest

from salvo_cli import checkup


@pytest.mark.parametrize(
    ("told", "level"),
    [
        ({"redis_version": "6.2.14"}, "ok"),
        ({"redis_version": "7.0.15"}, "ok"),
        ({"redis_version": "6.0.16"}, "fail"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
        ({"redis_version": "5.0.14"}, "fail"),
        ({}, "fail"),
    ],
)
def test_redis_is_new_enough_or_fails(told, level):
    finding = checkup._version(told, "redis://host:6379/0")
    assert finding.level == level
    assert finding.server or level == "ok"


@pytest.mark.parametrize(
    ("policy", "maxmemory", "level"),
    [
        ("noeviction", 0, "ok"),
        ("noeviction", 1000, "ok"),
        ("allkeys-lru", 0, "fail"),
        ("allkeys-lru", 1000, "fail"),
        (
            "volatile-lru",
            1000,
            "fail",
        ),  # keys of sealed runs and workers' cards expire, so they may be dropped
        ("volatile-lru", 0, "ok"),
    ],
)
def test_a_policy_that_drops_keys_fails(policy, maxmemory, level):
    assert checkup._policy({"maxmemory_policy": policy, "maxmemory": maxmemory}).level == level


def test_a_server_that_forgets_on_restart_is_a_warning_with_what_to_do():
    finding = checkup._persistence({"aof_enabled": 0})
    assert (finding.level, "appendonly yes" in finding.advice) == ("warn", True)
    assert checkup._persistence({"aof_enabled": 1}).level == "ok"


@pytest.mark.parametrize(("used", "most", "level"), [(10, 0, "ok"), (79, 100, "ok"), (80, 100, "warn")])
def test_memory_that_runs_short_is_a_warning(used, most, level):
    assert checkup._memory({"used_memory": used, "maxmemory": most}).level == level
