"""Three minutes of faults, whatever they are, break no promise."""

from __future__ import annotations

import os

import pytest

from tests.chaos.campaign import campaign

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]

SEED = int(os.environ.get("SALVO_CHAOS_SEED", "20261124"))
MINUTES = float(os.environ.get("SALVO_CHAOS_MINUTES", "3"))


async def test_a_fleet_under_faults_ends_every_trial_once_and_pays_for_no_kept_turn_twice(
    no_aws: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        outcome = await campaign(SEED, MINUTES, lambda text: print(text, flush=True))
        print(outcome.table(), flush=True)
    assert outcome.runs
