"""What `salvo status` asks for, and what it leaves alone."""

import json
from types import SimpleNamespace

import pytest

from salvo_cli import exits, wiring
from salvo_cli.commands.status import status
from salvo_core.run.plan import Plan
from tests.unit.cli.test_progress import counts
from tests.unit.run.builders import plan

CELLS = plan(cells=1)


class Asked:
    """A site where one run stands; it keeps what it was asked."""

    def __init__(self, stands) -> None:
        self.said: list[str] = []
        self._stands = stands
        self.observer = self.registry = self.limits = self.breakers = self

    async def resolve(self, ref: str) -> str:
        return self._stands.run_id

    async def status(self, run_id: str):
        return self._stands

    async def plan(self, run_id: str) -> Plan:
        self.said.append("plan")
        return CELLS

    async def workers(self) -> list[SimpleNamespace]:
        return []

    async def queues(self, providers: set[str]) -> list[SimpleNamespace]:
        self.said.append("queues")
        return []

    async def troubles(self, providers: set[str]) -> list[SimpleNamespace]:
        self.said.append("troubles")
        return []


@pytest.fixture
def asked(monkeypatch):
    async def acted(act, site):
        return await act(site)

    def ask(stands, **options):
        site = Asked(stands)
        monkeypatch.setattr(wiring, "in_site", lambda act: wiring.asyncio.run(acted(act, site)))
        assert status("latest", **options) == exits.OK
        return site.said

    return ask


@pytest.mark.parametrize("state", ["sealed", "paused", "finished"])
def test_of_a_run_at_rest_no_plan_is_read_and_nobody_is_waited_for(state, asked, capsys):
    assert asked(counts(state=state, total=3, cells=1), as_json=True) == []
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["waiting"], told["queues"]) == (state, [], [])
    assert asked(counts(state=state, total=3, cells=1)) == []
    assert asked(counts(state=state, total=3, cells=2)) == ["plan"]  # it has the cells' names


def test_of_a_run_that_moves_status_tells_whom_it_waits_for(asked, capsys):
    assert asked(counts(total=3, cells=1), as_json=True) == ["plan", "queues", "troubles"]
    assert json.loads(capsys.readouterr().out)["state"] == "running"
