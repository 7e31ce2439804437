"""What the records of a run may keep of its scenario.

A frozen scenario is an order that workers carry out, so it holds everything. Where it holds what
the run's recording strikes out, it is *withheld*: the order lies apart until the run is over, and a
snapshot stays in its place. In the mode ``full`` that is the scenario redacted; in ``metadata_only``
it is the scenario without a word of what is said in it. Of an assertion that cannot stand there
whole, its type, weight and whether it is required remain, so that it can be counted and named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from salvo_core.errors import ObjectCorrupt
from salvo_core.evaluation.assertion import WEIGHT_MAX, AssertionSpec
from salvo_core.evaluation.catalogue import parse
from salvo_core.evaluation.judge.panel import judges_in
from salvo_core.scenario.digest import agent_digest, canonical_form
from salvo_core.scenario.model import Scenario
from salvo_core.trace import codec
from salvo_core.trace.frozen import Frozen
from salvo_core.trace.recording import EXCLUDED, RecordingMode
from salvo_core.trace.redaction import Redactor

SCHEMA = "salvo.snapshot/1"


class ExcludedAssertion(Frozen):
    """What is kept of an assertion whose words are not: enough to count it and to weigh it."""

    type: str = Field(max_length=64)
    weight: float = Field(ge=0, le=WEIGHT_MAX, allow_inf_nan=False)
    required: bool
    judge_models: tuple[str | None, ...] = ()
    """As the function of that name says of the assertion that it was."""
    excluded: Literal[True] = True

    def label(self) -> str:
        """Return what is left to call it by."""
        return self.type


class _Document(Frozen):
    """The stored form. ``scenario`` lacks its assertions, which stand beside it."""

    recording: RecordingMode
    agent_digest: str
    scenario: dict[str, Any]
    assertions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A scenario as a run's records have it.

    Attributes:
        scenario: What is known of it. Its ``assertions`` are those that can be checked, in order.
        assertions: One for each of the scenario's, in its order: the assertion, or what is left of it.
        recording: ``metadata_only`` says that the scenario's words are markers.
        agent_digest: Of what the agent saw, before anything was taken out.
        whole: Whether this is the scenario as it was ordered, word by word.
    """

    scenario: Scenario
    assertions: tuple[AssertionSpec | ExcludedAssertion, ...]
    recording: RecordingMode = "full"
    agent_digest: str = ""
    whole: bool = True

    @classmethod
    def of(cls, scenario: Scenario, agent: str = "") -> Snapshot:
        """Return the snapshot of a scenario of which nothing is withheld.

        Args:
            scenario: As ordered.
            agent: Its agent digest, if it is at hand; plans of before there was one have none.
        """
        return cls(scenario, tuple(scenario.assertions), agent_digest=agent or agent_digest(scenario))

    @property
    def excluded(self) -> tuple[tuple[int, ExcludedAssertion], ...]:
        """The assertions that cannot be checked any more, each with its place in the scenario, 0-based."""
        return tuple(
            (place, one) for place, one in enumerate(self.assertions) if isinstance(one, ExcludedAssertion)
        )


def judge_models(assertion: AssertionSpec | ExcludedAssertion) -> tuple[str | None, ...]:
    """Return the model of each judge in an assertion, in order; None stands for the run's default."""
    if isinstance(assertion, ExcludedAssertion):
        return assertion.judge_models
    return tuple(judge.judge_model for _, judge in judges_in([assertion]))


def is_withheld(scenario: Scenario, mode: RecordingMode, redactor: Redactor) -> bool:
    """Tell whether a scenario may not stay in the store as it is."""
    return mode == "metadata_only" or _redacted(canonical_form(scenario), redactor) != canonical_form(
        scenario
    )


def snapshot_of(scenario: Scenario, mode: RecordingMode, redactor: Redactor) -> Snapshot:
    """Return what a run's records may keep of a scenario.

    Args:
        scenario: As ordered.
        mode: The run's.
        redactor: What is struck out, whatever the mode.
    """
    return _snapshot(_document(scenario, mode, redactor))


def freeze_snapshot(scenario: Scenario, mode: RecordingMode, redactor: Redactor) -> bytes:
    """Return the bytes of the snapshot to store (``store.keys.snapshot``); arguments as ``snapshot_of``."""
    document = _document(scenario, mode, redactor)
    return codec.encode(SCHEMA, document.model_dump(mode="json"), compress=False)[0]


def freeze_remains(scenario: Scenario, assertions: Sequence[ExcludedAssertion], redactor: Redactor) -> bytes:
    """Return the bytes of the snapshot of a scenario that nobody has whole any more.

    Args:
        scenario: Its names and figures; of its words, a snapshot keeps none.
        assertions: What is known of each, in order.
        redactor: As in ``snapshot_of``.
    """
    document = _Document(
        recording="metadata_only",
        agent_digest="",  # of nothing that is known: no later scenario is taken for the same
        scenario=_stripped(_redacted(canonical_form(scenario), redactor), scenario, redactor),
        assertions=tuple(one.model_dump() for one in assertions),
    )
    return codec.encode(SCHEMA, document.model_dump(mode="json"), compress=False)[0]


def thaw_snapshot(stored: bytes, where: str) -> Snapshot:
    """Return the snapshot that was stored.

    Raises:
        ObjectCorrupt: Damaged, or not a snapshot that this version of Salvo can read.
    """
    body = codec.decode(SCHEMA, stored, where=where)
    try:
        return _snapshot(_Document.model_validate(body))
    except ValidationError as error:  # also one of its assertions, which are read one by one
        raise ObjectCorrupt(
            f"{where} holds a snapshot that this Salvo cannot read ({error.error_count()} problems)",
            hint="a newer Salvo may have written it",
        ) from None


def _snapshot(document: _Document) -> Snapshot:
    assertions = tuple(
        ExcludedAssertion.model_validate(one) if one.get("excluded") is True else parse(one)
        for one in document.assertions
    )
    usable = [one for one in assertions if not isinstance(one, ExcludedAssertion)]
    bare = Scenario.model_validate({**document.scenario, "assertions": []})
    return Snapshot(
        scenario=bare.model_copy(update={"assertions": usable}),
        assertions=assertions,
        recording=document.recording,
        agent_digest=document.agent_digest,
        whole=False,
    )


def _document(scenario: Scenario, mode: RecordingMode, redactor: Redactor) -> _Document:
    form = _redacted(canonical_form(scenario), redactor)
    kept = form.pop("assertions")
    if mode == "metadata_only":
        kept = [None if a.needs_content() else one for a, one in zip(scenario.assertions, kept, strict=True)]
    if mode == "metadata_only" or not _is_scenario(form):
        form = _stripped(form, scenario, redactor)
    return _Document(
        recording=mode,
        agent_digest=agent_digest(scenario),
        scenario=form,
        assertions=tuple(_kept(a, one) for a, one in zip(scenario.assertions, kept, strict=True)),
    )


def _kept(assertion: AssertionSpec, form: dict[str, Any] | None) -> dict[str, Any]:
    """Return an assertion's redacted form, or what is left of it where that is none any more."""
    left = ExcludedAssertion(
        type=assertion.type,
        weight=assertion.weight,
        required=assertion.required,
        judge_models=judge_models(assertion),
    ).model_dump(mode="json")
    if form is None:
        return left
    try:
        parse(form)
    except ValidationError:  # a marker inside a schema or an expression can break it
        return left
    return form


def _is_scenario(form: Mapping[str, Any]) -> bool:
    try:
        Scenario.model_validate(form)
    except ValidationError:
        return False
    return True


_FIGURES = (
    "threshold",
    "gate",
    "max_turns",
    "temperature",
    "seed",
    "timeout_s",
    "max_tokens",
    "max_cost_usd",
)
_NAMES = ("description", "tags", "adapter", "model", "unknown_tool")


def _stripped(form: Mapping[str, Any], scenario: Scenario, redactor: Redactor) -> dict[str, Any]:
    """Return a scenario's form without a word of what is said in it; it validates whatever it was."""
    stripped = {name: form[name] for name in (*_NAMES, *_FIGURES) if name in form}
    stripped["prompt"] = EXCLUDED
    if scenario.system_prompt:
        stripped["system_prompt"] = EXCLUDED
    # Names of tools stay, as in traces: they are what tool_called and tool_sequence speak of.
    names = [tool.name for tool in scenario.tools]
    stripped["tools"] = [
        {"name": name if redactor.text(name) == name else f"tool_{place}", "description": EXCLUDED}
        for place, name in enumerate(names, start=1)
    ]
    stripped["extras"] = dict.fromkeys(form["extras"], EXCLUDED)
    if scenario.script is not None:
        stripped["script"] = {"turns": [{"text": EXCLUDED}]}
    return stripped


def _redacted(form: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return a scenario's canonical form redacted, JSON Schemas in a way that leaves them schemas."""
    rest = {name: value for name, value in form.items() if name not in ("tools", "assertions")}
    redacted = cast(dict[str, Any], redactor.document(rest))
    tools = [
        {
            **redactor.document({**tool, "parameters": None}),
            "parameters": _schema(tool["parameters"], redactor),
        }
        for tool in form["tools"]
    ]
    assertions = [_assertion(one, redactor) for one in form["assertions"]]
    return {name: {"tools": tools, "assertions": assertions}.get(name, redacted.get(name)) for name in form}


def _assertion(form: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    redacted = cast(dict[str, Any], redactor.document(form))
    redacted["type"] = form["type"]
    if isinstance(form.get("json_schema"), dict):
        redacted["json_schema"] = _schema(form["json_schema"], redactor)
    if isinstance(form.get("assertion"), dict):
        redacted["assertion"] = _assertion(form["assertion"], redactor)
    if isinstance(form.get("assertions"), list):
        redacted["assertions"] = [_assertion(one, redactor) for one in form["assertions"]]
    return redacted


_MAPS_OF_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMAS = ("items", "prefixItems", "contains", "not", "if", "then", "else", "anyOf", "allOf", "oneOf")


def _schema(schema: Any, redactor: Redactor) -> Any:
    """Return a JSON Schema redacted. A property *called* password is no password, but its default may be."""
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [_schema(one, redactor) for one in schema]
    if not isinstance(schema, Mapping):
        return redactor.document(schema)
    redacted: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _MAPS_OF_SCHEMAS and isinstance(value, Mapping):
            redacted[name] = {redactor.text(key): _property(key, one, redactor) for key, one in value.items()}
        elif name in _SCHEMAS:
            redacted[name] = _schema(value, redactor)
        else:
            redacted.update(redactor.document({name: value}))
    return redacted


def _property(name: str, schema: Any, redactor: Redactor) -> Any:
    """Return the schema of a property; under a secret's name, the values it lists are secrets too."""
    redacted = _schema(schema, redactor)
    if isinstance(redacted, dict):
        for key in ("default", "const", "enum", "examples"):
            if key in redacted:
                redacted[key] = next(iter(redactor.document({name: redacted[key]}).values()))
    return redacted
