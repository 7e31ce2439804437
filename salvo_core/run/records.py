"""A trial's record before anything is thought of it: what was said, by whom, when and where."""

from __future__ import annotations

import platform
import socket
from datetime import datetime, timedelta
from functools import lru_cache

from salvo_core.clock import Clock
from salvo_core.manifest.claims import Claim
from salvo_core.run.plan import Plan
from salvo_core.scenario.model import Scenario
from salvo_core.trace.model import Provenance, ScenarioRef, Trace
from salvo_core.trial.conversation import Conversation
from salvo_core.version import VERSION


def timed(trace: Trace, began: tuple[datetime, float], clock: Clock) -> Trace:
    """Return the trace as one that ends now, by the clock that nobody can set back."""
    started_at, started_s = began
    duration = timedelta(seconds=clock.monotonic_s() - started_s)
    return trace.model_copy(
        update={"ended_at": started_at + duration, "duration_s": round(duration.total_seconds(), 6)}
    )


def record_of(
    claim: Claim,
    plan: Plan | None,
    scenario: Scenario | None,
    said: Conversation,
    started_at: datetime,
) -> Trace:
    """Return the record of a conversation; ``timed`` says when it ended."""
    cell_index = plan.cell_index(claim.index) if plan else 0
    cell = plan.cells[cell_index] if plan else None
    return Trace(
        trace_id=claim.trace_id,
        run_id=claim.run_id,
        index=claim.index,
        cell=cell_index,
        trial=plan.trial_index(claim.index) if plan else 0,
        attempt=claim.attempt,
        scenario=ScenarioRef(
            digest=cell.scenario_digest if cell else "",
            name=cell.scenario_name if cell else "",
            file=cell.scenario_file if cell else "",
        ),
        model=cell.model if cell else "",
        adapter=cell.adapter if cell else "",
        threshold=cell.threshold if cell else 0.0,
        started_at=started_at,
        ended_at=started_at,
        outcome=said.outcome,
        error=said.error,
        messages=said.messages,
        turns=said.turns,
        usage=said.usage,
        cost_usd=said.cost_usd,
        latency_s=said.latency_s,
        duration_s=0.0,
        finish_reason=said.finish_reason,
        extras=scenario.extras if scenario else {},
        provenance=_provenance(claim.worker),
    )


@lru_cache(
    16
)  # the same for every trial of a process, and to ask for the host's name is a call of the system
def _provenance(worker: str) -> Provenance:
    return Provenance(
        salvo_version=VERSION,
        python_version=platform.python_version(),
        host=socket.gethostname(),
        worker=worker,
    )
