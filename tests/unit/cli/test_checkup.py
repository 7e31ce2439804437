"""What the doctor thinks of a server, from what the server says of itself."""

import pytest

from salvo_cli import checkup
from salvo_core.fleet.registry import WorkerCard


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


def card(**fields):
    return WorkerCard(
        **{"name": "w1", "host": "h", "pid": 1, "concurrency": 1, "running": 0, "started_ms": 0,
           "salvo_version": "1"} | fields
    )  # fmt: skip


def test_workers_that_begin_no_trial_are_counted_and_one_of_them_says_why():
    cards = [card(), card(name="w2", shut="cannot reach s3://x"), card(name="w3", shut="y")]
    (finding,) = checkup.gate_findings(cards)
    assert (finding.level, finding.seen) == (
        "warn", "2 of 3 take no new trials, e.g. w2: cannot reach s3://x",
    )  # fmt: skip


def test_a_worker_whose_loop_was_held_up_for_long_is_told_of():
    assert not list(checkup.gate_findings([card(stalls=9, stall_s_longest=0.2)]))
    (finding,) = checkup.gate_findings([card(), card(name="w2", stalls=1200, stall_s_longest=2.5)])
    assert (finding.level, finding.seen) == (
        "warn", "w2 was held up for 2.5 s at a time, and 1,200 times for more than 5 ms",
    )  # fmt: skip


@pytest.mark.parametrize(("honours", "told"), [(True, 0), (None, 0), (False, 1)])
def test_a_store_without_conditional_writes_is_told_once_it_is_known(honours, told):
    found = list(checkup.gate_findings([card(conditional_writes=honours), card()]))
    assert len(found) == told
    assert all("1 of 2" in finding.seen for finding in found)


@pytest.mark.parametrize(
    ("hosts", "cores", "told"),
    [(("here",), 4, 1), (("here", "there"), 2, 1), (("here", "here"), 2, 0), (("there",), 4, 0), ((), 4, 0)],
    ids=["one-of-four", "the-other-is-elsewhere", "one-each", "none-here", "none"],
)
def test_workers_that_leave_cores_of_this_machine_idle_are_told_of_procs(monkeypatch, hosts, cores, told):
    monkeypatch.setattr(checkup.socket, "gethostname", lambda: "here")
    found = list(checkup.core_findings([card(host=host) for host in hosts], cores))
    assert [finding.level for finding in found] == ["ok"] * told
    assert all("--procs auto" in finding.advice for finding in found)
