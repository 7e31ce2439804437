"""Commands against servers that are not ours: a real Valkey, a worker of its own, another folder as store."""

import pytest

from tests.acceptance.typing_person import Person, until

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
    assert "running" in watched.err or "sealed" in watched.err


def _passed(person: Person) -> int:
    looked = person.types("status", "--json")
    return int(looked.document["counts"]["passed"]) if looked.code == 0 else 0
