"""The predecessor's folder, put together: each run with its trials' traces, and what is left over.

A run is its suite file; the manifest and the index only say more about it. Traces that no suite
names are what a crash left behind, because there a run was written when all its trials had ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel

from salvo_core.identity import canonical_json, digest, is_uuid7
from salvo_core.predecessor.documents import (
    ManifestEntry,
    ManifestFile,
    Recording,
    RecordingMetadata,
    RunTrace,
    Suite,
    Trial,
    read_as,
    unknown_keys,
)
from salvo_core.predecessor.folder import (
    RECORDED_ENDING,
    REEVALS,
    RUNS,
    TRACES,
    Folder,
    Skipped,
    Unreadable,
)

LATEST = frozenset({"latest", ".latest", "latest-recorded", ".latest-recorded"})
"""Links and files that say which run or recording was the last: ids say it too."""

_ENDED_MS_MAX = 253_402_300_799_999
"""The last moment that has a date here, Unix time; a uuid7 can hold a later one."""

_MANIFEST = f"{TRACES}/manifest.json"
_INDEX = "index.json"
_Document = TypeVar("_Document", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class FoundTrial:
    """A trial of a suite and what there is of its conversation.

    Attributes:
        trial: As the suite has it.
        trace_id: A uuid7 that no other trial of the run has; None if the suite gives none.
        trace: The recording's if it can be read: that is what its owner chose to keep. Else the raw one.
        recording: About the recording; None if there is none that can be read.
        snapshot: The scenario, as the recording has it.
    """

    trial: Trial
    trace_id: str | None
    trace: RunTrace | None
    recording: RecordingMetadata | None = None
    snapshot: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, as far as it could be read.

    Attributes:
        run_id: A uuid7, made when the run ended.
        suite: Its own file.
        trials: By trial number.
        marked: Whether the manifest says that it was recorded.
        snapshot: Its scenario, from one of its recordings or from another run of the same scenario.
        skipped: Files of its trials that could not be read.
        unknown: Keys in its files that nobody here knows.
    """

    run_id: str
    suite: Suite
    trials: tuple[FoundTrial, ...]
    marked: bool
    snapshot: Mapping[str, Any] | None
    skipped: tuple[Skipped, ...]
    unknown: tuple[str, ...] = ()


@dataclass
class Collection:
    """Reads a folder run by run.

    Args:
        folder: Where.

    ``skipped`` grows while runs are read; ``leftovers`` says what nobody asked for, at the end.
    """

    folder: Folder
    skipped: list[Skipped] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list, init=False)
    """Of the runs there are files for, oldest first."""
    _trace_files: frozenset[str] = frozenset()
    _named: set[str] = field(default_factory=set)
    _manifest: Mapping[str, ManifestEntry] = field(default_factory=dict)
    _snapshots: dict[str, Mapping[str, Any]] | None = None

    def open(self) -> list[str]:
        """Look through the folder; return the run ids there are files for, oldest first.

        Raises:
            UsageError: It may not be read.
        """
        for name in self.folder.names(RUNS):
            stem, dot, ending = name.rpartition(".")
            if dot and ending == "json" and is_uuid7(stem):
                self.run_ids.append(stem)
            elif name not in LATEST:
                self.skipped.append(Skipped(f"{RUNS}/{name}", _why_no_run(name)))
        self._trace_files = frozenset(self.folder.names(TRACES))
        manifest = self._optional(_MANIFEST, ManifestFile)
        self._manifest = manifest.runs if manifest else {}
        self._miss_runs_of_the_index()
        return self.run_ids

    def run(self, run_id: str) -> FoundRun | None:
        """Return a run; None when its file cannot be read, which ``skipped`` then says.

        Args:
            run_id: From ``open``.
        """
        name = f"{RUNS}/{run_id}.json"
        try:
            suite = read_as(Suite, self.folder.document(name))
            _require_whole(suite, run_id)
        except FileNotFoundError:
            self.skipped.append(Skipped(name, "has gone in the meantime"))
            return None
        except Unreadable as error:
            self.skipped.append(Skipped(name, str(error)))
            return None
        before = len(self.skipped)
        unknown = set(unknown_keys(suite))
        taken: set[str] = set()
        trials = []
        for trial in sorted(suite.trials, key=lambda one: one.trial_number):
            trials.append(self._trial(name, trial, taken, unknown))
        self._named |= taken
        entry = self._manifest.get(run_id)
        return FoundRun(
            run_id,
            suite,
            tuple(trials),
            marked=entry.recorded if entry else any(one.recording for one in trials),
            snapshot=self._snapshot(trials),
            skipped=tuple(self.skipped[before:]),
            unknown=tuple(sorted(unknown)),
        )

    def leftovers(self) -> tuple[int, int]:
        """Return how many traces no run that was read names, and how many re-evaluations there are.

        Files in the trace folder that are no traces are added to ``skipped``. Call it last.
        """
        orphans = set()
        for name in sorted(self._trace_files - LATEST - {"manifest.json"}):
            trace_id = _trace_id_in(name)
            if trace_id is None:
                self.skipped.append(Skipped(f"{TRACES}/{name}", _why_no_run(name)))
            elif trace_id not in self._named:
                orphans.add(trace_id)
        return len(orphans), sum(name.endswith(".json") for name in self.folder.names(REEVALS))

    def leave(self, run_ids: list[str]) -> None:
        """Count these runs' traces as named although nobody wants the runs: they are not left over."""
        for run_id in run_ids:
            try:
                suite = read_as(Suite, self.folder.document(f"{RUNS}/{run_id}.json"))
            except (FileNotFoundError, Unreadable):
                continue
            self._named |= {trial.trace_id for trial in suite.trials if trial.trace_id}

    def _trial(self, name: str, trial: Trial, taken: set[str], unknown: set[str]) -> FoundTrial:
        trace_id = trial.trace_id
        if trace_id is not None and (not is_uuid7(trace_id) or trace_id in taken):
            problem = "of another trial too" if trace_id in taken else f"{trace_id[:60]!r}, no uuid7"
            self.skipped.append(
                Skipped(name, f"its trial {trial.trial_number} has the trace id {problem}: no trace")
            )
            trace_id = None
        if trace_id is None:
            return FoundTrial(trial, None, None)
        taken.add(trace_id)
        recording = self._optional(f"{TRACES}/{trace_id}{RECORDED_ENDING}", Recording)
        if recording is not None:
            unknown |= set(unknown_keys(recording))
            return FoundTrial(
                trial, trace_id, recording.trace, recording.metadata, recording.scenario_snapshot
            )
        raw = self._optional(f"{TRACES}/{trace_id}.json", RunTrace)
        if raw is None and f"{trace_id}.json" not in self._trace_files:
            self.skipped.append(
                Skipped(f"{TRACES}/{trace_id}.json", f"is gone: trial {trial.trial_number} has no trace")
            )
        return FoundTrial(trial, trace_id, raw)

    def _optional(self, name: str, kind: type[_Document]) -> _Document | None:
        """Return a document that may be absent; one that is damaged is skipped."""
        try:
            return read_as(kind, self.folder.document(name))
        except FileNotFoundError:
            return None
        except Unreadable as error:
            self.skipped.append(Skipped(name, str(error)))
            return None

    def _snapshot(self, trials: list[FoundTrial]) -> Mapping[str, Any] | None:
        """Return the scenario of a run, from its own recordings or by its hash from others'."""
        own = next((one.snapshot for one in trials if one.snapshot is not None), None)
        if own is not None:
            return own
        hashes = {one.trace.scenario_hash for one in trials if one.trace and one.trace.scenario_hash}
        if len(hashes) != 1:
            return None
        if self._snapshots is None:
            self._snapshots = self._all_snapshots()
        return self._snapshots.get(hashes.pop())

    def _all_snapshots(self) -> dict[str, Mapping[str, Any]]:
        """Return every scenario that a recording in the folder has, by the hash that proves it."""
        found: dict[str, Mapping[str, Any]] = {}
        for name in sorted(self._trace_files):
            if not name.endswith(RECORDED_ENDING) or _trace_id_in(name) is None:
                continue
            try:
                recording = read_as(Recording, self.folder.document(f"{TRACES}/{name}"))
            except (FileNotFoundError, Unreadable):  # named when its own run is read
                continue
            found.setdefault(digest(canonical_json(recording.scenario_snapshot)), recording.scenario_snapshot)
        return found

    def _miss_runs_of_the_index(self) -> None:
        try:
            index = self.folder.document(_INDEX)
        except FileNotFoundError:
            return
        except Unreadable as error:
            self.skipped.append(Skipped(_INDEX, f"{error}; the runs' own files are enough"))
            return
        named = index.values() if isinstance(index, dict) else ()
        ids = {one for many in named if isinstance(many, list) for one in many if isinstance(one, str)}
        known = set(self.run_ids)
        for run_id in sorted(one for one in ids - known if is_uuid7(one)):
            self.skipped.append(Skipped(_INDEX, f"names run {run_id}, whose file is gone"))


def _require_whole(suite: Suite, run_id: str) -> None:
    if suite.run_id != run_id:
        raise Unreadable(f"calls itself run {suite.run_id[:60]!r}")
    if UUID(run_id).int >> 80 > _ENDED_MS_MAX:
        raise Unreadable("has an id of the year 10000 or later")
    if not suite.trials:
        raise Unreadable("is a run without a trial")
    numbers = [trial.trial_number for trial in suite.trials]
    if len(set(numbers)) < len(numbers):
        raise Unreadable("has two trials of one number")


def _trace_id_in(name: str) -> str | None:
    stem = (
        name.removesuffix(RECORDED_ENDING) if name.endswith(RECORDED_ENDING) else name.removesuffix(".json")
    )
    return stem if stem != name and is_uuid7(stem) else None


def _why_no_run(name: str) -> str:
    if name.endswith(".tmp"):
        return "was left by a write that was broken off"
    return "is no file of salvo-ai: its name is no id"
