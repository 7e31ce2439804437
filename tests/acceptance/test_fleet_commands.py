"""Commands against servers that are not ours: a real Valkey, a worker of its own, another folder as store."""

import pytest
import redis

from salvo_core.identity import trace_id_for
from salvo_core.manifest import keys
from salvo_core.manifest.connection import connect
from salvo_core.manifest.live import Manifest
from tests.acceptance.typing_person import Person, until
from tests.servers.process import start_on_free_port
from tests.servers.redis import RedisServer

pytestmark = pytest.mark.servers


@pytest.fixture
def fleet(person, redis_url):
    """A person whose environment names a fleet, and a worker of that fleet."""
    person.environ |= {
        "SALVO_REDIS_URL": redis_url,
        "SALVO_STORE_URL": f"file://{person.folder}/objects",
    }
    worker = person.start("worker", "-c", "2")
    until(lambda: person.types("status", "--json").code == 64, "the fleet answers")
    yield person
    worker.terminate()
    assert person.ended(worker).code == 0


def test_ctrl_c_stops_watching_and_the_run_goes_on(fleet: Person):
    file = fleet.scenario("slow", "[{text: good}]", latency_s=1.0)
    running = fleet.start("run", file, "-n", "6")
    until(lambda: _passed(fleet) >= 1, "a first trial passed")
    fleet.interrupts(running)
    stopped = fleet.ended(running)
    assert stopped.code == 130
    assert "goes on" in stopped.err
    assert fleet.types("wait", "latest", "--timeout", "40", "-q").code == 0
    assert _passed(fleet) == 6


def test_an_idempotency_key_gives_the_same_run_and_status_names_the_workers(fleet: Person):
    file = fleet.scenario("trial", "[{text: good}]")
    ids = {fleet.types("submit", file, "--idempotency-key", "nightly", "-q").out.strip() for _ in range(2)}
    assert len(ids) == 1
    assert fleet.types("wait", "latest", "--timeout", "40", "-q").code == 0
    (worker,) = fleet.types("status", "--json").document["workers"]
    assert worker["concurrency"] == 2
    levels = {(one["subject"], one["level"]) for one in fleet.types("doctor", "--json").document["findings"]}
    assert ("workers", "ok") in levels


def test_status_watch_follows_to_the_end(fleet: Person):
    file = fleet.scenario("slow", "[{text: good}]", latency_s=0.5)
    fleet.types("submit", file, "-n", "4", "-q")
    watched = fleet.types("status", "--watch")
    assert watched.code == 0
    assert "4 passed" in watched.out
    # On a busy machine it may be over before the watch begins: then there is nothing to follow.
    assert "running" in watched.err or "sealed" in watched.err + watched.out


def test_messages_that_are_not_ours_are_told_by_the_doctor_and_can_be_looked_at(fleet: Person, redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.lpush("salvo.trials", "[red]hello[/red] \x1b[31m", b"\xff")
        until(lambda: client.hget("salvo.foreign.counts", "unreadable") == b"2", "the worker sets them aside")
    assert _found(fleet, "foreign messages") == ("warn", "2 messages set aside: 2 unreadable")
    shown = fleet.types("foreign", "--clear")
    assert shown.code == 0
    assert r"[red]hello[/red] \x1b[31m" in " ".join(shown.out.split())
    document = fleet.types("foreign", "--json").document
    assert (document["counts"], document["messages"]) == ({}, [])
    assert _found(fleet, "foreign messages") == ("ok", "none")


def test_a_person_without_the_fleets_key_is_told_by_the_doctor(person, redis_url):
    person.environ |= {"SALVO_REDIS_URL": redis_url, "SALVO_STORE_URL": f"file://{person.folder}/objects"}
    person.environ["SALVO_SIGNING_KEY"] = theirs = "t" * 32
    worker = person.start("worker", "-c", "2")
    ran = person.types("run", person.scenario("trial", "[{text: good}]"), "-n", "2", "-q")
    assert ran.code == 0
    assert _found(person, "signing") == ("ok", "orders are signed, and every worker that is there verifies")
    person.environ["SALVO_SIGNING_KEY"] = "m" * 32
    level, seen = _found(person, "signing")
    assert level == "fail"
    assert "signed with a key they do not know" in seen
    person.environ["SALVO_SIGNING_KEY"] = theirs
    assert theirs not in person.types("config").out
    worker.terminate()
    assert person.ended(worker).code == 0


def _found(person: Person, subject: str) -> tuple[str, str]:
    findings = person.types("doctor", "--json").document["findings"]
    (found,) = [one for one in findings if one["subject"] == subject]
    return found["level"], found["seen"]


def _passed(person: Person) -> int:
    looked = person.types("status", "--json")
    return int(looked.document["counts"]["passed"]) if looked.code == 0 else 0


def test_a_run_is_paused_resumed_and_cancelled_from_another_shell_and_foretold_before(fleet: Person):
    fleet.types("submit", fleet.scenario("slow", "[{text: good}]", latency_s=0.3), "-n", "200", "-q")
    until(lambda: _passed(fleet) >= 1, "a first trial passed")
    for command, state in (("pause", "paused"), ("resume", "running"), ("cancel", "sealed")):
        foretold = fleet.types(command, "latest", "--dry-run")
        assert (foretold.code, foretold.out.split()[0]) == (0, "would"), foretold
        assert fleet.types(command, "latest", "--dry-run", "--json").document["dry_run"] is True
        assert fleet.types("status", "--json").document["state"] != state
        assert fleet.types(command, "latest", *(["-d"] if command == "resume" else [])).code == 0
        until(lambda wanted=state: fleet.types("status", "--json").document["state"] == wanted, state)
    assert 0 < _passed(fleet) < 200
    for command in ("pause", "cancel"):
        again = fleet.types(command, "latest", "--json").document
        assert (again["changed"], again["state"]) == (False, "sealed")
    assert "nothing to resume" in fleet.types("resume", "latest", "--dry-run").out


def test_errors_of_a_run_are_retried_and_it_is_extended_from_the_shell(fleet: Person):
    broken = fleet.scenario("broken", "[{error: {kind: permanent}}]")
    fleet.types("submit", broken, "-n", "2", "-q")
    assert fleet.types("wait", "latest", "--timeout", "40", "-q").code != 0
    assert "would be tried again" in fleet.types("retry", "latest", "--dry-run").out
    retried = fleet.types("retry", "latest", "--json").document
    assert (retried["trials"], retried["dry_run"]) == (2, False)
    fleet.types("wait", "latest", "--timeout", "40", "-q")
    assert "2 trials tried again by hand" in fleet.types("report", "latest").out
    (first, *_) = fleet.types("trials", "latest", "--json").document["trials"]
    told = fleet.types("trace", first["trace_id"])
    assert "retried at" in told.out

    fleet.types("submit", fleet.scenario("trial", "[{text: good}]"), "-n", "2", "-q")
    fleet.types("wait", "latest", "--timeout", "40", "-q")
    assert "would be added" in fleet.types("extend", "latest", "-n", "+3", "--dry-run").out
    assert fleet.types("extend", "latest", "-n", "+3", "--json").document["trials"] == 5
    assert fleet.types("wait", "latest", "--timeout", "40", "-q").code == 0
    assert _passed(fleet) == 5
    assert "nothing to add" in fleet.types("extend", "latest", "-n", "5").out
    assert fleet.types("extend", "latest", "-n", "-3").code == 64


def test_a_queue_whose_redis_begins_to_evict_keeps_workers_waiting_and_status_and_doctor_say_why(
    person: Person, redis_url: str
):
    with start_on_free_port(lambda port: RedisServer("valkey", port=port)) as queue, queue.client() as client:
        person.environ |= {
            "SALVO_REDIS_URL": redis_url,
            "SALVO_BROKER_URL": queue.url,
            "SALVO_STORE_URL": f"file://{person.folder}/objects",
        }
        worker = person.start("worker", "-c", "2")
        until(lambda: client.exists("_kombu.binding.salvo.trials"), "the worker has looked at its queue", 120)
        client.config_set("maxmemory-policy", "allkeys-lru")
        why = (
            "1 worker, 1 of them taking no new trials: maxmemory-policy allkeys-lru would drop "
            "messages of queued trials, on the queue's Redis"
        )
        person.types("submit", person.scenario("slow", "[{text: good}]", latency_s=0.5), "-n", "300", "-q")
        until(lambda: why in " ".join(person.types("status").out.split()), "status says so", 120)
        told = person.types("doctor", "--json")
        findings = {one["subject"]: (one["level"], one["seen"]) for one in told.document["findings"]}
        level, seen = findings["broker eviction"]
        assert (told.code, level, "messages of queued trials" in seen) == (69, "fail", True)
        refused = person.types("worker")
        assert (refused.code, "drop messages of queued trials" in refused.err) == (69, True)
        client.config_set("maxmemory-policy", "noeviction")
        until(lambda: "no new trials" not in person.types("status").out, "trials go on", 120)
        assert person.types("cancel", "latest").code == 0
        worker.terminate()
        assert person.ended(worker).code == 0


async def test_resume_takes_no_lease_back_that_nobody_could_renew_because_redis_was_away(
    person: Person, redis_url: str
):
    person.environ |= {"SALVO_REDIS_URL": redis_url, "SALVO_STORE_URL": f"file://{person.folder}/objects"}
    run_id = person.types("submit", person.scenario("trial", "[{text: good}]"), "-n", "2", "-q").out.strip()
    manifest = Manifest(connect(redis_url), redis_url)
    await manifest.claim(run_id, 0, trace_id_for(run_id, 0), "w1", lease_s=30)
    await manifest.redis.zadd(keys.leases(run_id), {"0": 1})
    for silent_s, taken in ((60, 0), (0, 1)):
        now_ms = (await manifest.counts(run_id)).now_ms
        await manifest.redis.hset(keys.PULSE, "heard_ms", now_ms - silent_s * 1000)
        assert person.types("resume", run_id, "--detach").code == 0
        assert (await manifest.counts(run_id)).expired == taken
    await manifest.aclose()
