"""A recorded scenario of the predecessor as one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from salvo_core.evaluation.catalogue import ASSERTION_TYPES
from salvo_core.scenario.model import Scenario


class NotOurs(Exception):
    """A scenario that this Salvo would not accept; the text says why."""


def scenario_of(snapshot: Mapping[str, Any]) -> Scenario:
    """Return the scenario that a recording holds.

    There every assertion has the keys of all types, null where they mean nothing; here each type has its
    own and refuses others. What a type never looked at is left out.

    Raises:
        NotOurs: It asks for something that is refused here, such as a negative weight.
    """
    document = dict(snapshot)
    assertions = document.get("assertions")
    if isinstance(assertions, list):
        document["assertions"] = [_own_keys(one) if isinstance(one, Mapping) else one for one in assertions]
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "union_tag_invalid":
            raise NotOurs(f"{place}: no assertion type is called {first['ctx']['tag']!r:.60}") from None
        raise NotOurs(f"{place}: {first['msg']}"[:200]) from None


def _own_keys(assertion: Mapping[str, Any]) -> dict[str, Any]:
    kind = assertion.get("type")
    spec = ASSERTION_TYPES.get(kind) if isinstance(kind, str) else None
    if spec is None:
        return dict(assertion)
    kept = {key: value for key, value in assertion.items() if key in spec.model_fields}
    # Null means "not given" but for the value of a comparison, where it is one.
    return {key: value for key, value in kept.items() if value is not None or key == "value"}
