"""A run of the predecessor in our words: its plan, its trials' traces, and what is not the same.

What a trial came to is what it came to there: grades, scores and findings are carried over, not made
anew. What is doubtful is not believed (the predecessor claimed three retries of every infrastructure
error), and what is not known is left empty. Nothing here is redacted but what findings quote, which is
cut short: the door strikes out the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from uuid import UUID

from pydantic import ValidationError

from salvo_core.evaluation.assertion import LABEL_CHARS_MAX, WEIGHT_MAX
from salvo_core.evaluation.judge.defaults import JudgeDefaults
from salvo_core.evaluation.wording import one_line
from salvo_core.identity import canonical_json, digest, trace_id_for
from salvo_core.predecessor.collection import FoundRun
from salvo_core.predecessor.documents import EvalResult, Suite
from salvo_core.predecessor.scenarios import NotOurs, scenario_of
from salvo_core.predecessor.traces import Surroundings, trace_of
from salvo_core.run.facts import AssertionFacts
from salvo_core.run.plan import Cell, Plan
from salvo_core.scenario.digest import agent_digest, scenario_digest
from salvo_core.scenario.model import NAME_CHARACTERS_MAX, Scenario
from salvo_core.scenario.snapshot import is_withheld
from salvo_core.trace.model import Trace
from salvo_core.trace.recording import Recording, RecordingMode
from salvo_core.trace.redaction import Redactor

VERSION = "0.1"
LABEL, LABELLED = "imported", f"salvo-ai {VERSION}"
"""The note in a plan that says where its run comes from."""

EARLY_STOP, NEVER_WRITTEN = "decided", "unknown"
"""Why a trial that was asked for has no result."""

_HASH_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Converted:
    """A run, ready to be written.

    Attributes:
        plan: One cell; every trial's trace id is spelled out.
        scenario: As it was asked; None where it is not known, or no scenario of ours.
        facts: Of its assertions, as the trials have them.
        types: Of its assertions.
        traces: One per trial that ended, by index.
        without_record: Indices of trials whose conversation is lost: only what they came to is known.
        skipped: Indices of trials that never began, and why in one word.
        verdict: What it came to there.
        notes: What a person should know, in sentences.
    """

    plan: Plan
    scenario: Scenario | None
    facts: tuple[AssertionFacts, ...]
    types: tuple[str, ...]
    traces: tuple[Trace, ...]
    without_record: frozenset[int]
    skipped: dict[int, str]
    verdict: str
    notes: tuple[str, ...]

    @property
    def ended_ms(self) -> int:
        """When the run ended, Unix time: its id was made then."""
        return ended_ms(self.plan.run_id)

    @property
    def started_ms(self) -> int | None:
        """When its first conversation began, Unix time; None when none is known."""
        starts = [one.started_at for one in self.traces if one.index not in self.without_record]
        return min(round(min(starts).timestamp() * 1000), self.ended_ms) if starts else None


def ended_ms(run_id: str) -> int:
    """Return the time stamp in a run id, Unix time in ms."""
    return UUID(run_id).int >> 80


def convert(found: FoundRun, redactor: Redactor, mode: RecordingMode = "full") -> Converted:
    """Return a run as one of ours.

    Args:
        found: As it was read.
        redactor: For what is cut short.
        mode: What may be kept at most. A run that was recorded without content stays without.
    """
    suite, notes = found.suite, []
    recordings = [one.recording for one in found.trials if one.recording]
    if any(one.recording_mode == "metadata_only" for one in recordings):
        mode = "metadata_only"
    scenario = None
    if found.snapshot is not None:
        try:
            scenario = scenario_of(found.snapshot)
        except NotOurs as error:
            notes.append(f"its scenario is none that this Salvo would run ({error})")
    else:
        notes.append("its scenario was not recorded")
    results = max((one.trial.eval_results for one in found.trials), key=len)
    types = _types(results, scenario)
    labels = tuple(
        types[place] if mode == "metadata_only" else _label(place, one, scenario, redactor)
        for place, one in enumerate(results)
    )
    if not 0 <= suite.threshold <= 1:
        notes.append(f"its threshold of {suite.threshold:g} is taken for {_clamped(suite.threshold):g}")
    cell = _cell(found, scenario, mode, labels)
    withheld = scenario is None or is_withheld(scenario, mode, redactor)
    plan = _plan(found, cell.model_copy(update={"withheld": withheld}), mode, redactor)
    where = Surroundings(plan, scenario, types, labels, mode, redactor)
    index_of = {one.trial.trial_number: one.trial.trial_number - 1 for one in found.trials}
    traces = tuple(trace_of(one, index_of[one.trial.trial_number], where) for one in found.trials)
    ended = {trace.index for trace in traces}
    why = EARLY_STOP if suite.early_stopped else NEVER_WRITTEN
    return Converted(
        plan=plan,
        scenario=scenario,
        facts=tuple(
            AssertionFacts(label, min(max(one.weight, 0.0), WEIGHT_MAX), one.required)
            for label, one in zip(labels, results, strict=True)
        ),
        types=types,
        traces=traces,
        without_record=frozenset(
            index_of[one.trial.trial_number] for one in found.trials if one.trace is None
        ),
        skipped={index: why for index in range(plan.total) if index not in ended},
        verdict=suite.verdict,
        notes=tuple(notes),
    )


def _plan(found: FoundRun, cell: Cell, mode: RecordingMode, redactor: Redactor) -> Plan:
    suite = found.suite
    total = max(suite.n_requested or 0, *(one.trial.trial_number for one in found.trials))
    ids = {one.trial.trial_number - 1: one.trace_id for one in found.trials}
    run_id = found.run_id
    return Plan(
        run_id=run_id,
        created_at=datetime.fromtimestamp(ended_ms(run_id) / 1000, UTC),
        cells=(redacted_cell(cell, redactor),),
        trials=total,
        labels={LABEL: LABELLED},
        salvo_version=VERSION,
        recording=Recording(mode=mode),
        judge=_judge(found),
        early_stop=suite.early_stopped,
        trace_ids=tuple(ids.get(index) or trace_id_for(run_id, index) for index in range(total)),
    )


def _judge(found: FoundRun) -> JudgeDefaults:
    """Return how judges were asked in the run, as far as one of their results tells."""
    told = (
        one.metadata
        for trial in found.trials
        for one in trial.trial.eval_results
        if one.assertion_type == "judge" and one.metadata
    )
    first = next(told, {})
    model, k = first.get("judge_model"), first.get("judge_k")
    try:
        return JudgeDefaults(**({"model": model[:200]} if isinstance(model, str) and model else {}), k=k)
    except (TypeError, ValidationError):
        return JudgeDefaults()


def redacted_cell(cell: Cell, redactor: Redactor) -> Cell:
    """Return the cell with what people wrote in it redacted: a plan is stored, and read by many."""
    return cell.model_copy(
        update={
            "scenario_name": redactor.text(cell.scenario_name),
            "scenario_file": redactor.text(cell.scenario_file),
            "tags": redactor.document(cell.tags),
            "model": redactor.text(cell.model),
        }
    )


def _cell(found: FoundRun, scenario: Scenario | None, mode: RecordingMode, labels: Sequence[str]) -> Cell:
    suite = found.suite
    mark = scenario_digest(scenario) if scenario else _mark_of_the_unknown(found)
    return Cell(
        scenario_digest=mark,
        scenario_name=_name(found, scenario, mode, mark),
        scenario_file=suite.scenario_file or "",
        model=suite.model,
        adapter=suite.adapter,
        threshold=_clamped(suite.threshold),
        assertions=tuple(labels),
        tags=scenario.tags if scenario else {},
        agent_digest=agent_digest(scenario) if scenario else "",
    )


def _mark_of_the_unknown(found: FoundRun) -> str:
    """Return what tells an unknown scenario from others: its hash there, else what the suite says."""
    for one in found.trials:
        mark = one.trace.scenario_hash if one.trace else ""
        if len(mark) == _HASH_LENGTH and set(mark) <= set("0123456789abcdef"):
            return mark
    suite = found.suite
    return digest(canonical_json([LABELLED, suite.scenario_name, suite.scenario_file, suite.model]))


def _name(found: FoundRun, scenario: Scenario | None, mode: RecordingMode, mark: str) -> str:
    """Return what reports call the scenario. The beginning of a prompt is content, a description is none."""
    suite = found.suite
    if mode == "full":
        return suite.scenario_name
    described = scenario.description if scenario else ""
    if described and described == suite.scenario_name:
        return described
    if scenario is None and len(suite.scenario_name) < NAME_CHARACTERS_MAX and not _asked(found, suite):
        return suite.scenario_name
    stem = PurePosixPath(PureWindowsPath(suite.scenario_file or "").as_posix()).stem
    return stem or f"scenario {mark[:12]}"


def _asked(found: FoundRun, suite: Suite) -> bool:
    """Tell whether the run's name is how a question began, or may be: no trace says what was asked."""
    questions = [
        said.content or ""
        for one in found.trials
        if one.trace
        for said in one.trace.messages
        if said.role == "user"
    ]
    return not questions or any(one.startswith(suite.scenario_name) for one in questions)


def _types(results: Sequence[EvalResult], scenario: Scenario | None) -> tuple[str, ...]:
    known = scenario.assertions if scenario and len(scenario.assertions) == len(results) else None
    return tuple(
        known[place].type if known else one_line(one.assertion_type, 40) for place, one in enumerate(results)
    )


def _label(place: int, result: EvalResult, scenario: Scenario | None, redactor: Redactor) -> str:
    """Return the assertion in a few words: as the scenario has it, else what its findings have in common."""
    if scenario and place < len(scenario.assertions):
        return one_line(redactor.text(scenario.assertions[place].label()), LABEL_CHARS_MAX)
    constant, told, _ = result.details.partition(" actual=")
    criteria = (result.metadata or {}).get("per_criterion")
    if result.assertion_type == "jmespath" and told:
        text = f"jmespath {constant.removesuffix(' expected=None')}"
    elif isinstance(criteria, list):
        text = "judge " + ", ".join(str(one.get("name")) for one in criteria if isinstance(one, dict))
    else:
        text = result.assertion_type
    return one_line(redactor.text(text), LABEL_CHARS_MAX)


def _clamped(threshold: float) -> float:
    return min(max(threshold, 0.0), 1.0)
