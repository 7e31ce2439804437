"""``salvo worker --procs`` beside the embedded server, as a person types it."""

import os
import signal

import pytest

from tests.acceptance.typing_person import Person, until

pytestmark = pytest.mark.servers

DEADLINE_S = 60.0


SLOTS = 3


def start(person: Person):
    worker = person.start("worker", "--procs", "2", "-c", str(SLOTS))
    until(lambda: _processes(person) == 2, "two processes are there", DEADLINE_S)
    return worker


def _processes(person: Person) -> int:
    """Return how many processes of ours are there: ``submit`` may have started a worker of its own."""
    shown = person.types("status", "--json")
    workers = shown.document.get("workers", []) if shown.code == 0 else []
    return sum(worker["concurrency"] == SLOTS for worker in workers)


def test_two_processes_work_on_a_run_and_leave_together_at_ctrl_c(person: Person):
    person.types("submit", person.scenario("trial", "[{text: good}]", latency_s=0.1), "-n", "40", "-q")
    worker = start(person)
    assert person.types("wait", "latest", "--timeout", "60", "-q").code == 0
    person.interrupts(worker)
    ended = person.ended(worker)
    assert ended.code == 0, ended.err
    assert " w1 " in ended.err
    assert " w2 " in ended.err
    until(lambda: not person.processes(), "nothing is left", DEADLINE_S)


def test_a_killed_parent_leaves_no_process_behind_and_no_server(person: Person):
    person.types("submit", person.scenario("trial", "[{text: good}]", latency_s=0.1), "-n", "4", "-q")
    worker = start(person)
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate(timeout=DEADLINE_S)
    until(lambda: not person.processes(), "nothing is left", DEADLINE_S)


def test_two_processes_that_no_server_answers_are_one_error(person: Person):
    person.environ |= {"SALVO_REDIS_URL": "redis://127.0.0.1:1/0", "SALVO_STORE_URL": "file:///nowhere"}
    ended = person.types("worker", "--procs", "2")
    assert ended.code == 69
    assert ended.err.count("error: ") == 1
