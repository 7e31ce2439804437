"""A parsed document against its model: either the model or every problem, located.

Used for scenarios and for ``salvo.yaml`` alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from salvo_core.scenario.parsed import Parsed
from salvo_core.scenario.positions import Place, Positions, Spot, dotted
from salvo_core.scenario.problems import Problem, ScenarioInvalid, Severity, problem_at
from salvo_core.scenario.spelling import did_you_mean, keys_at
from salvo_core.scenario.wording import code_of, shown, worded

M = TypeVar("M", bound=BaseModel)


def check(
    model: type[M],
    data: Mapping[str, Any],
    parsed: Parsed,
    file: str,
    *,
    validate: Callable[[Any], M] | None = None,
    as_written: Callable[[Place], Place] = lambda path: path,
    more_keys: Callable[[Place], Iterable[str]] = lambda path: (),
) -> tuple[M | None, list[Problem]]:
    """Return the validated model, or None, and the problems that validation found.

    Args:
        model: What the document should be.
        data: What to validate; the parsed data, perhaps normalised.
        parsed: Where things stand, and what reading has complained about already.
        file: For problems that no line can be named for.
        validate: Instead of the model's own ``model_validate``.
        as_written: Path in ``data`` to the path in the file, where normalising moved things.
        more_keys: Keys that are allowed in the map at a path, apart from the model's own.
    """
    try:
        valid = (validate or model.model_validate)(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
    else:
        return (None if parsed.faulty else valid), []
    problems = []
    for one in _without_other_branches(found, data):
        path = _path_in(one, data)
        for place in one.get("ctx", {}).get("places", [()]):
            written = as_written((*path, *place))
            if any(written[: len(bad)] == bad for bad in parsed.faulty):
                continue  # reading said already what is wrong there
            message, hint = worded(one, written)
            if one["type"] == "extra_forbidden":
                known = [*keys_at(model, path[:-1], data), *more_keys(written[:-1])]
                hint = did_you_mean(str(path[-1]), known)
            problems.append(locate(code_of(one["type"]), message, written, parsed.positions, file, hint=hint))
    return None, problems


def checked_document(
    model: type[M], parsed: Parsed, file: str, *, wanted: str, validate: Callable[[Any], M] | None = None
) -> M:
    """Return what a parsed file holds, as a model.

    Args:
        model: What it should be.
        parsed: From ``source.parse_file``; warnings stay in its ``problems``.
        file: As shown to people.
        wanted: What belongs into such a file, as in: a map of settings.
        validate: Instead of the model's own ``model_validate``.

    Raises:
        ScenarioInvalid: It is not; every problem.
    """
    valid: M | None = None
    problems = list(parsed.problems)
    if parsed.usable:
        wrong = not_a_map(parsed, file, wanted=wanted)
        if wrong is not None:
            problems.append(wrong)
        else:
            valid, found = check(model, parsed.data, parsed, file, validate=validate)
            problems += found
    if valid is None or any(problem.severity == "error" for problem in problems):
        raise ScenarioInvalid(in_file_order(problems, parsed.positions))
    return valid


def not_a_map(parsed: Parsed, file: str, *, wanted: str, hint: str = "") -> Problem | None:
    """Return the problem of a file whose root is no map; None if it is one."""
    if isinstance(parsed.data, dict):
        return None
    what = "the file is empty" if parsed.data is None else f"the file holds {shown(parsed.data)}"
    spot = parsed.positions.values.get((), Spot(file))
    return problem_at("E007", f"{what} where {wanted} is expected", spot, parsed.positions, hint=hint)


def locate(
    code: str,
    message: str,
    path: Place,
    positions: Positions,
    file: str,
    *,
    hint: str = "",
    severity: Severity = "error",
) -> Problem:
    """Return a problem at a field's key, or at the nearest key above one that is absent.

    An absent field of a list item is shown at the list's key, as it always was; the hint
    says where the item begins. An absent top-level field has no line.
    """
    spot = positions.at(path)
    if spot is None:
        item = positions.item_around(path)
        if item is not None:
            where = f"{dotted(item[0])} begins at {item[1].file}:{item[1].line}"
            hint = f"{hint}; {where}" if hint else where
        spot = positions.above(path) or Spot(file)
    return problem_at(code, message, spot, positions, path=path, hint=hint, severity=severity)


def in_file_order(problems: Iterable[Problem], positions: Positions) -> list[Problem]:
    """Return problems by file as read, then line and column; what has no line comes first."""
    order = {name: place for place, name in enumerate(positions.lines)}
    return sorted(problems, key=lambda one: (order.get(one.file, -1), one.line, one.col))


def _path_in(error: ErrorDetails, data: Any) -> Place:
    """Return an error's place in the data."""
    path, _ = _resolved(error, data)
    return path


def _resolved(error: ErrorDetails, data: Any) -> tuple[Place, tuple[Place, str] | None]:
    """Return an error's place in the data, and where and by which name a union's shape it is about."""
    path: list[str | int] = []
    branch: tuple[Place, str] | None = None
    here = data
    location = error["loc"]
    for place, step in enumerate(location):
        last = place == len(location) - 1
        is_tag = not last and isinstance(here, Mapping) and here.get("type") == step
        in_map = isinstance(here, Mapping) and isinstance(step, str) and step in here and not is_tag
        in_list = isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here)
        if in_map or in_list:
            here = here[step]
            path.append(step)
        elif last and error["type"] == "missing":
            path.append(step)
        elif not is_tag and branch is None:
            branch = (tuple(path), str(step))
    if error["type"] == "union_tag_invalid":
        path.append("type")
    return tuple(path), branch


def _without_other_branches(errors: list[ErrorDetails], data: Any) -> list[ErrorDetails]:
    """Return the errors without those of union branches that the data plainly does not mean.

    Where a value may have several shapes pydantic reports each shape's complaints. Kept is
    the shape that got furthest into the value; if none got in, the first complaint stands for all.
    """
    furthest: dict[Place, tuple[int, str]] = {}
    for error in errors:
        path, branch = _resolved(error, data)
        if branch is not None:
            reached = len(path) - len(branch[0])
            if branch[0] not in furthest or reached > furthest[branch[0]][0]:
                furthest[branch[0]] = (reached, branch[1])
    kept = []
    for error in errors:
        _, branch = _resolved(error, data)
        if branch is None or furthest[branch[0]][1] == branch[1]:
            kept.append(error)
    return kept
