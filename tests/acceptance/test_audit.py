"""Auditing, repairing and rebuilding as a person does it, in the embedded mode."""

import shutil

import pytest

from tests.acceptance.typing_person import Person

pytestmark = pytest.mark.servers


def traces(person: Person):
    return sorted((person.folder / ".salvo" / "store" / "runs").glob("*/traces/*"))


def test_a_damaged_run_is_audited_repaired_and_run_again_where_that_is_allowed(person: Person):
    file = person.scenario("trial", "[{text: good}]")
    assert person.types("run", file, "-n", "3", "-q").code == 0
    lost, whole, cut = traces(person)
    lost.unlink()
    shutil.copy(cut, cut.with_name(cut.name.replace(".a1.", ".a2.")))
    cut.write_bytes(cut.read_bytes()[:100])

    found = person.types("audit", "latest", "--json")
    assert found.code == 1
    kinds = {(one["index"], one["kind"], one["remedy"]) for one in found.document["discrepancies"]}
    # The copy says that it is attempt 1, so it is not attempt 2.
    assert kinds == {(0, "object_missing", "rerun"), (2, "object_damaged", "rerun")}

    refused = person.types("audit", "latest", "--repair", "--rerun")
    assert refused.code == 64
    assert "-y agrees to it" in refused.err
    assert person.types("audit", "latest", "--repair", "--rerun", "-y").code == 0
    assert person.types("resume", "latest", "-q").code == 0
    after = person.types("audit", "latest", "--json")
    assert (after.code, after.document["clean"], after.document["checked"]) == (0, True, 3)
    assert whole.exists()


def test_a_run_whose_redis_is_gone_is_told_of_and_rebuilt(person: Person):
    file = person.scenario("slow", "[{text: good}]", latency_s=1.0)
    running = person.start("run", file, "-n", "5", "-j", "2")
    while len(traces(person)) < 2 and running.poll() is None:
        pass
    person.interrupts(running)
    stopped = person.ended(running)
    assert stopped.code == 130
    stored = len(traces(person))
    shutil.rmtree(person.folder / ".salvo" / "valkey" / "appendonlydir")

    told = person.types("status")
    assert told.code == 64
    assert "salvo rebuild" in told.err
    assert "salvo rebuild" in person.types("list").err
    rebuilt = person.types("rebuild", "latest")
    assert rebuilt.code == 0
    assert f"{stored} of 5 trials are stored and kept" in rebuilt.out
    assert person.types("resume", "latest", "-q").code == 0
    assert person.types("audit").code == 0
    assert len(traces(person)) == 5
