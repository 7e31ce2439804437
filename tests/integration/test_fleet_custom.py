"""A team's own assertion functions on real workers: allowed, refused, hanging, and gone with their worker."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from salvo_core.trace.model import Finding, Trace
from tests.integration.fleet import Fleet, until
from tests.integration.scripts import scenario, script

pytestmark = pytest.mark.servers

MODEL = "gpt-4o-mini"
ALLOWED = {"SALVO_ALLOW_IMPORTS": "our_checks.*"}

CHECKS = """
import os
import pathlib
import time


def refunded(trace, assertion):
    amounts = [call.arguments["amount_usd"] for call in trace.tool_calls if call.name == "issue_refund"]
    return {"passed": amounts == [assertion.params["amount_usd"]], "details": f"paid {amounts}"}


def breaks(trace, assertion):
    raise KeyError(trace.final_content)


def hangs(trace, assertion):
    pathlib.Path(assertion.params["note"]).write_text(str(os.getpid()))
    time.sleep(3600)
"""


def custom(name: str, **more: Any) -> dict[str, Any]:
    """Return an assertion by a function of this test's module."""
    return {"type": "custom", "function": f"our_checks.{name}", **more}


@pytest.fixture
def checking(fleet_on_files: Fleet) -> Fleet:
    """A fleet whose workers find the functions."""
    path = fleet_on_files.folder / "checks"
    path.mkdir()
    (path / "our_checks.py").write_text(CHECKS)
    fleet_on_files.environ["PYTHONPATH"] += f":{path}"
    return fleet_on_files


async def findings(
    fleet: Fleet, *assertions: dict[str, Any], trials: int = 2
) -> list[tuple[Trace, tuple[Finding, ...]]]:
    """Run a scenario with these assertions to its end; return each trace with its findings."""
    plan = await fleet.submit(scenario(MODEL, assertions=list(assertions)), trials=trials)
    await fleet.sealed(plan)
    return [(trace, trace.findings) for trace in await fleet.audit(plan)]


def is_running(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def test_functions_of_a_team_grade_trials_where_the_workers_owner_allows_it(checking: Fleet) -> None:
    asked = [
        custom("refunded", params={"amount_usd": 42.5}),
        {"not": custom("refunded", params={"amount_usd": 1})},
    ]
    async with checking.provider({MODEL: script()}):
        (refusing,) = await checking.start()
        for trace, (plain, negated) in await findings(checking, *asked):
            assert (trace.outcome, trace.grade, trace.score) == ("completed", "failed", 0.0)
            for finding in (plain, negated):
                assert finding.error is not None
                assert "does not allow the function our_checks.refunded" in finding.error
                assert "SALVO_ALLOW_IMPORTS" in finding.error
        refusing.kill9()
        await checking.start(environ=ALLOWED)
        for trace, (plain, negated) in await findings(checking, *asked, trials=12):
            assert (trace.grade, trace.score) == ("passed", 1.0)
            assert (plain.details, plain.error) == ("paid [42.5]", None)
            assert negated.details == "as wanted, this does not hold: paid [42.5]"


async def test_a_function_that_breaks_or_hangs_costs_no_trial_and_no_other_finding(
    checking: Fleet, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    asked = [
        custom("breaks"),
        custom("hangs", timeout_s=1, params={"note": str(note)}),
        custom("refunded", params={"amount_usd": 42.5}),
    ]
    async with checking.provider({MODEL: script()}):
        await checking.start(environ=ALLOWED)
        for trace, (breaks, hangs, fine) in await findings(checking, *asked):
            assert (trace.outcome, trace.status) == ("completed", "failed")
            assert breaks.error is not None
            assert breaks.error.startswith("KeyError: 'Your refund of $42.50 is on its way.' (our_checks.py")
            assert hangs.error == "our_checks.hangs took longer than 1 s and was stopped"
            assert (fine.passed, fine.details) == (True, "paid [42.5]")
    assert not is_running(int(note.read_text()))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
async def test_a_worker_that_leaves_takes_its_hosts_along(checking: Fleet, tmp_path: Path) -> None:
    note = tmp_path / "note"
    async with checking.provider({MODEL: script()}):
        (worker,) = await checking.start(environ=ALLOWED)
        await findings(checking, custom("refunded", params={"amount_usd": 42.5}))
        hosts = children(worker.pid)
        assert hosts
        worker.signal(signal.SIGTERM)
        await worker.ended()
        await until(lambda: not any(map(is_running, hosts)), "the hosts are gone")
        # Killed in the middle of a call: the kernel's alarm ends the call's host soon after its limit.
        (worker,) = await checking.start(environ=ALLOWED)
        await checking.submit(
            scenario(MODEL, assertions=[custom("hangs", timeout_s=2, params={"note": str(note)})]), trials=1
        )
        await until(lambda: note.exists() and note.read_text(), "the function hangs")
        worker.kill9()
        host = int(note.read_text())
        await until(lambda: not is_running(host), "the orphan is gone")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
