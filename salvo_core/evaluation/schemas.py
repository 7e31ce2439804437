"""JSON Schemas that users write: checked when a scenario is loaded, applied to what an agent said.

Draft 2020-12, and whole in themselves: a ``$ref`` leads to another place of the same schema,
never to the network. Patterns are searched with a time limit. ``format`` says what is meant
and is not checked, as the draft has it by default.

Source:
    JSON Schema 2020-12, Core and Validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from salvo_core.evaluation.assertion import Step
from salvo_core.evaluation.document import Document
from salvo_core.evaluation.query import REGEX_TIME_S_MAX, found_in, regex_problem
from salvo_core.evaluation.wording import quoted

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_FAULTS_LOOKED_AT = 20
"""Of one value: which of them says most is decided among so many."""

_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_VALUES = frozenset({"const", "enum", "default", "examples"})


class SchemaProblem(NamedTuple):
    """Why a schema cannot be used.

    Attributes:
        path: Where in the schema.
        message: What is wrong there.
        hint: What to do, or empty.
    """

    path: tuple[Step, ...]
    message: str
    hint: str = ""


def _usable(schema: dict[str, Any]) -> dict[str, Any]:
    problem = schema_problem(schema)
    if problem is not None:
        raise PydanticCustomError(
            "json_schema",
            "{why}",
            {"why": problem.message, "places": [problem.path], "hint": problem.hint},
        )
    return schema


JsonSchema = Annotated[dict[str, Any], AfterValidator(_usable)]
"""A JSON Schema that can be used: valid, and whole in itself."""


def schema_problem(schema: Mapping[str, Any]) -> SchemaProblem | None:
    """Return the first thing that is wrong with a schema; None if it can be used."""
    # Deferred, here and below: only scenarios with a schema pay for loading the library.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match

    dialect = schema.get("$schema")
    if isinstance(dialect, str) and dialect.rstrip("#") != DIALECT:
        return SchemaProblem(
            ("$schema",),
            "must name draft 2020-12, the only one there is here",
            f"write {DIALECT}, or nothing",
        )
    try:
        # The checked schema is the instance here, so a fault's path is the place in it.
        fault = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema))
    except (SchemaError, RecursionError):
        return SchemaProblem((), "is nested too deep")
    if fault is not None:
        wanted = f": wanted is type {quoted(fault.validator_value)}" if fault.validator == "type" else ""
        return SchemaProblem(
            tuple(fault.absolute_path), f"cannot be {quoted(fault.instance, 80)} in a JSON Schema{wanted}"
        )
    return next(iter(_own_rules(schema)), None)


def format_used(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema says ``format`` anywhere, which is not checked."""
    return any("format" in node for _, node in _schemas(schema, ()))


class Compiled:
    """A usable schema, ready to check values."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from referencing.jsonschema import EMPTY_REGISTRY

        # The library's own default would fetch what it does not know from the network.
        self._validator = _validator_class()(schema, registry=EMPTY_REGISTRY)

    def fault(self, value: Any, document: Document) -> str | None:
        """Return in one sentence where a value does not fit; None if it fits.

        Args:
            value: Any JSON value of the document.
            document: Whose redaction what is quoted goes through.
        """
        from jsonschema.exceptions import best_match

        try:
            faults = list(islice(self._validator.iter_errors(value), _FAULTS_LOOKED_AT))
        except TimeoutError:
            return f"a pattern of the schema took longer than {REGEX_TIME_S_MAX:g} s to search"
        except RecursionError:
            return "it is nested too deep to be checked"
        if not faults:
            return None
        worst = best_match(faults)
        where, found = _redacted_at(document.redacted(value), worst.absolute_path)
        return f"at {where}: {quoted(found)} does not fit {worst.validator} {quoted(worst.validator_value)}"


def _redacted_at(redacted: Any, path: Iterable[Step]) -> tuple[str, Any]:
    """Return a place in a value whose secrets are out, and what stands there, as far as the way leads.

    The whole value is redacted first: what makes a text a secret may be the key above it.
    """
    where = "$"
    for step in path:
        try:
            redacted = redacted[step]
        except (KeyError, IndexError, TypeError):
            break
        where += f"[{step}]" if isinstance(step, int) else f".{step}"
    return where, redacted


def _own_rules(schema: Mapping[str, Any]) -> Iterator[SchemaProblem]:
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012, EMPTY_REGISTRY

    # With an empty registry nothing can be fetched: a lookup that leaves the schema fails.
    resource = DRAFT202012.create_resource(schema)
    resolver = EMPTY_REGISTRY.with_resource("", resource).resolver_with_root(resource)
    nodes = list(_schemas(schema, ()))
    for path, node in nodes:
        for keyword in ("$ref", "$dynamicRef"):
            reference = node.get(keyword)
            if not isinstance(reference, str):
                continue
            if not reference.startswith("#"):
                yield SchemaProblem(
                    (*path, keyword),
                    f"leads out of the schema, to {quoted(reference)}: nothing is fetched",
                    "copy that schema under `$defs` and write `#/$defs/name`",
                )
                continue
            try:
                resolver.lookup(reference)
            except Unresolvable:
                yield SchemaProblem((*path, keyword), f"leads nowhere: there is no {quoted(reference)}")
        if path and "$id" in node:
            yield SchemaProblem((*path, "$id"), "has no use inside the schema", "leave it out")
        patterns = [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        for pattern in (*patterns, *node.get("patternProperties", ())):
            if said := regex_problem(pattern):
                place = "pattern" if pattern in patterns else "patternProperties"
                yield SchemaProblem((*path, place), said)
        if "unevaluatedProperties" in node and any("patternProperties" in one for _, one in nodes):
            yield SchemaProblem(
                (*path, "unevaluatedProperties"),
                "cannot stand in one schema with patternProperties: how long its search takes has no bound",
                "write additionalProperties beside the patternProperties",
            )


def _schemas(node: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Mapping[str, Any]]]:
    """Yield every map of a schema that is itself a schema, with its place; values and names are none."""
    if isinstance(node, list):
        for place, inner in enumerate(node):
            yield from _schemas(inner, (*path, place))
    if not isinstance(node, Mapping):
        return
    yield path, node
    for key, inner in node.items():
        if key in _MAPS_OF_SCHEMAS and isinstance(inner, Mapping):
            for name, one in inner.items():
                yield from _schemas(one, (*path, key, name))
        elif key not in _VALUES:
            yield from _schemas(inner, (*path, key))


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    """Return the library's validator, its regular expressions replaced by ones with a time limit."""
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(validator: Any, wanted: str, value: Any, schema: Any) -> Iterator[Any]:
        if validator.is_type(value, "string") and not found_in(wanted, value):
            yield ValidationError("the pattern is not found")

    def pattern_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        for expression, inner in wanted.items() if validator.is_type(value, "object") else ():
            for name, one in value.items():
                if found_in(expression, name):
                    yield from validator.descend(one, inner, path=name, schema_path=expression)

    def additional_properties(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, one in value.items() if validator.is_type(value, "object") else ():
            if name in known or any(found_in(expression, name) for expression in patterns):
                continue
            if wanted is False:
                yield ValidationError("there may be no other properties", path=[name])
            else:
                yield from validator.descend(one, wanted, path=name)

    return extend(
        Draft202012Validator,
        {
            "pattern": pattern,
            "patternProperties": pattern_properties,
            "additionalProperties": additional_properties,
        },
    )
