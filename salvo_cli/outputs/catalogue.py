"""Which documents there are: the one list of their names, versions and schemas."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from salvo_cli.outputs import deeds, runs, states
from salvo_core.errors import UsageError
from salvo_core.evaluation.schemas import DIALECT

PREFIX = "salvo.cli."


@dataclass(frozen=True, slots=True)
class Output:
    """One document.

    Attributes:
        name: Without prefix and version.
        printed_by: The command, or what of it.
        shape: What it holds beside ``schema``: a typed dict, or a union of several.
        version: Raised when a reader of the one before could break: a field that goes, or means or holds
            something else. A field that comes does not raise it.
    """

    name: str
    printed_by: str
    shape: Any
    version: int = 1

    @property
    def schema(self) -> str:
        """What stands in its field ``schema``."""
        return f"{PREFIX}{self.name}/{self.version}"

    @property
    def says(self) -> str:
        """What it is, in a sentence; of several shapes all."""
        shapes = get_args(self.shape) or (self.shape,)
        return " Or: ".join(
            str(inspect.getdoc(shape)).split("\n\n")[0].replace("\n", " ") for shape in shapes
        )


OUTPUTS = (
    Output("audit", "audit", deeds.Audited),
    Output("baseline.list", "baseline list", states.BaselinesListed),
    Output("baseline.rm", "baseline rm", deeds.BaselineRemoved),
    Output("baseline.set", "baseline set", states.BaselineShown),
    Output("baseline.show", "baseline show", states.BaselineShown),
    Output("cancel", "cancel", deeds.Cancelled),
    Output("compare", "compare", runs.Compared),
    Output("config", "config", deeds.Configured),
    Output("doctor", "doctor", deeds.Examined),
    Output("dry-run", "run --dry-run", runs.Planned | runs.DryRunBounds),
    Output("error", "every command, when it fails", deeds.Failed),
    Output("extend", "extend", deeds.Extended),
    Output("foreign", "foreign", deeds.ForeignShown),
    Output("history", "history, report --history", runs.History),
    Output("import", "import", deeds.Imported),
    Output("init", "init", deeds.Initialised),
    Output("list", "list", states.RunsListed | states.ReevaluationsListed),
    Output("manifest", "manifest show", states.ManifestShown),
    Output("outputs", "schema --outputs", deeds.OutputsListed),
    Output("pack", "pack", deeds.Packed),
    Output("pause", "pause", deeds.Paused),
    Output("plan", "plan", runs.Planned),
    Output("rebuild", "rebuild", deeds.Rebuilt),
    Output("reeval", "reeval", runs.Reported | runs.ReevaluationOrdered),
    Output("replay", "replay", runs.ReplayedTrial | runs.ReplayedRun),
    Output("replay-against", "replay --against", runs.ReplayedAgainst),
    Output("report", "report", runs.Reported | runs.NothingToReport),
    Output("resume", "resume", runs.Reported | runs.Resumed | runs.WouldResume),
    Output("retry", "retry", deeds.Retried),
    Output("run", "run", runs.Reported),
    Output("schedule", "schedule add, show, pause, resume", states.ScheduleShown),
    Output("schedule-history", "schedule history", states.ScheduleHistory),
    Output("schedule-rm", "schedule rm", deeds.ScheduleRemoved),
    Output("schedule-trigger", "schedule trigger", deeds.Triggered),
    Output("schedules", "schedule list", states.SchedulesListed),
    Output("simulate", "simulate", deeds.Simulating),
    Output("status", "status", states.StatusTold),
    Output("submit", "submit", deeds.Submitted),
    Output("test-alert", "schedule test-alert", deeds.AlertTested),
    Output("trace", "trace", runs.TraceShown),
    Output("trials", "trials", states.TrialsListed),
    Output("validate", "validate", deeds.Validated),
    Output("wait", "wait", states.Waited),
    Output("worker", "worker, when it leaves", deeds.WorkerLeft),
)
"""By name. ``run --legacy`` prints the first Salvo's document, which has no name."""


class _AsPrinted(GenerateJsonSchema):
    """Every field of a model is printed, whether it has a default or not."""

    def field_is_required(self, field: Any, total: bool) -> bool:
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return True


def output(name: str) -> Output:
    """Return the document of a name, with or without ``salvo.cli.`` and version.

    Raises:
        UsageError: There is none.
    """
    wanted = name.strip()
    for one in OUTPUTS:
        if wanted in (one.name, one.schema, f"{one.name}/{one.version}"):
            return one
    raise UsageError(f"no document is called {name[:80]!r}", hint="`salvo schema --outputs` lists all")


def output_schema(one: Output) -> dict[str, Any]:
    """Return a document's JSON Schema (draft 2020-12).

    It allows fields that it does not know: the same version may have more of them tomorrow.
    """
    drawn = TypeAdapter(one.shape).json_schema(mode="serialization", schema_generator=_AsPrinted)
    definitions = drawn.get("$defs", {})
    for shape in [definitions[choice["$ref"].rpartition("/")[2]] for choice in drawn.get("anyOf", ())] or [
        drawn
    ]:
        shape["properties"] = {"schema": {"const": one.schema}, **shape["properties"]}
        shape["required"] = ["schema", *shape["required"]]
    _open(drawn)
    heading = {"$schema": DIALECT, "$id": f"urn:{one.schema.replace('/', ':')}", "title": one.schema}
    return {**drawn, **heading, "description": one.says}


def _open(schema: Any) -> None:
    """Drop every refusal of unknown fields."""
    if isinstance(schema, dict):
        if schema.get("additionalProperties") is False:
            del schema["additionalProperties"]
        for part in schema.values():
            _open(part)
    elif isinstance(schema, list):
        for part in schema:
            _open(part)
