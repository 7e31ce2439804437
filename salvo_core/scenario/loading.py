"""Scenario files to validated scenarios: one file, or whatever a person points at.

What counts as a scenario in a folder: every ``*.yaml`` and ``*.yml`` below it, except

- ``salvo.yaml``,
- files and folders whose name begins with ``_`` or ``.``,
- folders called ``tools`` or ``providers``,
- files that another scenario of the same folder includes: they are parts.

A file that is named itself is always a scenario. Symlinked folders are not entered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from salvo_core.errors import UsageError
from salvo_core.evaluation.shorthand import known_keys, normalised, short_keys, written_path
from salvo_core.scenario.checking import check, in_file_order, locate, not_a_map
from salvo_core.scenario.digest import scenario_digest
from salvo_core.scenario.model import Scenario
from salvo_core.scenario.parsed import Parsed
from salvo_core.scenario.positions import Place
from salvo_core.scenario.problems import Problem, ScenarioInvalid
from salvo_core.scenario.project import FILE_NAME, Project
from salvo_core.scenario.review import warnings
from salvo_core.scenario.source import parse_file
from salvo_core.scenario.spelling import nearest

FILES_MAX = 10_000
PARTS_FOLDERS = frozenset({"tools", "providers"})
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """One valid scenario.

    Attributes:
        scenario: Complete: defaults of the project applied, includes resolved.
        digest: Its name for good.
        problems: Warnings, in file order.
        file: The path it was loaded from, as given.
        included: The files it includes, resolved.
    """

    scenario: Scenario
    digest: str
    problems: tuple[Problem, ...]
    file: str
    included: frozenset[Path]


@dataclass(frozen=True, slots=True)
class _Try:
    """What came of one file: exactly one of loaded and problems is set."""

    path: Path
    loaded: Loaded | None
    problems: list[Problem]
    included: frozenset[Path]


def load_scenario(path: Path, *, project: Project, default_model: str | None = None) -> Loaded:
    """Return the scenario in a file.

    Args:
        path: A scenario file.
        project: Whose defaults apply and whose folder bounds includes. A file outside that
            folder may include from its own folder only.
        default_model: For a scenario without model; else the project's.

    Raises:
        ScenarioInvalid: The file cannot be read or is not a valid scenario; every problem.
    """
    tried = _try(path, project, default_model)
    if tried.loaded is None:
        raise ScenarioInvalid(tried.problems)
    return tried.loaded


def load_paths(
    paths: Sequence[Path],
    *,
    project: Project,
    tags: Mapping[str, str] | None = None,
    default_model: str | None = None,
) -> list[Loaded]:
    """Return every scenario in files and folders, folders searched as this module says.

    Args:
        paths: Files and folders; what is named twice is loaded once.
        project: As in ``load_scenario``.
        tags: Keep only scenarios that carry all of these.
        default_model: As in ``load_scenario``.

    Returns:
        In the order of ``paths``, files of a folder sorted by path; at least one.

    Raises:
        ScenarioInvalid: Any file is invalid or missing; every problem of every file.
        UsageError: No scenario is there, or none carries the tags.
    """
    named: dict[Path, Path] = {}  # by real path, so that what is named twice is loaded once
    walked: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            for file in _scenario_files(path):
                walked.setdefault(Path(os.path.realpath(file)), file)
        else:
            named.setdefault(Path(os.path.realpath(path)), path)
    tries = {real: _try(path, project, default_model) for real, path in (walked | named).items()}
    parts = {file for one in tries.values() for file in one.included} - named.keys()
    kept = [one for real, one in tries.items() if real not in parts]
    if not kept:
        raise UsageError(
            f"no scenario in {', '.join(str(path) for path in paths) or 'nothing'}",
            hint="scenarios are *.yaml files; `salvo init` writes an example",
        )
    wrong = [problem for one in kept for problem in one.problems]
    if wrong:
        raise ScenarioInvalid(wrong)
    loaded = _names_compared([one.loaded for one in kept if one.loaded is not None])
    return _tagged(loaded, tags or {})


def _try(path: Path, project: Project, default_model: str | None) -> _Try:
    parsed = parse_file(path, boundary=_boundary(path, project.root))
    scenario, problems = _validated(parsed, str(path), project, default_model)
    if scenario is None:
        return _Try(path, None, in_file_order(problems, parsed.positions), frozenset(parsed.included))
    remarks = warnings(
        scenario,
        parsed.positions,
        str(path),
        adapters=project.adapters,
        as_written=lambda place: _as_written(place, parsed.data),
    )
    problems = in_file_order([*problems, *remarks], parsed.positions)
    loaded = Loaded(
        scenario, scenario_digest(scenario), tuple(problems), path.as_posix(), frozenset(parsed.included)
    )
    return _Try(path, loaded, [], loaded.included)


def _boundary(path: Path, root: Path) -> Path:
    folder = Path(os.path.realpath(path)).parent
    root = Path(os.path.realpath(root))
    return root if folder.is_relative_to(root) else folder


def _validated(
    parsed: Parsed, file: str, project: Project, default_model: str | None
) -> tuple[Scenario | None, list[Problem]]:
    """Return the scenario, or None, and the problems so far: warnings only if there is a scenario."""
    if not parsed.usable:
        return None, parsed.problems
    wrong = not_a_map(parsed, file, wanted="a scenario", hint="a scenario is a map with model and prompt")
    if wrong is not None:
        return None, [*parsed.problems, wrong]
    defaults = {"model": default_model or project.default_model, "adapter": project.default_adapter}
    data = {
        **parsed.data,
        **{key: value for key, value in defaults.items() if value and key not in parsed.data},
    }
    problems: list[Problem] = []
    if isinstance(data.get("assertions"), list):
        data["assertions"], problems = _long_assertions(data["assertions"], parsed, file)
    scenario, found = check(
        Scenario,
        data,
        parsed,
        file,
        as_written=lambda path: _as_written(path, parsed.data),
        more_keys=lambda path: _short_keys(path, parsed.data),
    )
    problems = [*parsed.problems, *problems, *found]
    if any(problem.severity == "error" for problem in problems):
        return None, problems
    return scenario, problems


def _long_assertions(listed: list[Any], parsed: Parsed, file: str) -> tuple[list[Any], list[Problem]]:
    """Return the assertions in long form, and what has none; its place is kept by one that is valid."""
    long: list[Any] = []
    problems: list[Problem] = []
    for place, raw in enumerate(listed):
        assertion, wrong = normalised(raw)
        long.append(assertion)
        for problem in wrong:
            path: Place = ("assertions", place, *problem.path)
            if any(path[: len(bad)] == bad for bad in parsed.faulty):
                continue  # reading said already what is wrong there
            hint = _misspelt_key(_at(raw, problem.path))
            problems.append(locate("E999", problem.message, path, parsed.positions, file, hint=hint))
    return long, problems


def _at(data: Any, path: Place) -> Any:
    for step in path:
        data = data[step]
    return data


def _misspelt_key(raw: Mapping[str, Any]) -> str:
    known = (*known_keys(None), "type")
    for key in raw:
        if key not in known and (likely := nearest(key, known)):
            return f"did you mean `{likely}` in place of `{key[:40]}`?"
    return ""


def _as_written(path: Place, data: Mapping[str, Any]) -> Place:
    """Return where something of the normalised data stands in the file."""
    found = _assertion_at(path, data)
    return path if found is None else (*path[:2], *written_path(found, path[2:]))


def _short_keys(path: Place, data: Mapping[str, Any]) -> Iterable[str]:
    """Return the keys of the short form, if the map at a path is an assertion in that form."""
    found = _assertion_at(path, data)
    return () if found is None else short_keys(found, path[2:])


def _assertion_at(path: Place, data: Mapping[str, Any]) -> Any:
    """Return the assertion, as written, that a path leads to or into; None if it leads elsewhere."""
    listed = data.get("assertions")
    if len(path) < 2 or path[0] != "assertions" or not isinstance(listed, list):
        return None
    place = path[1]
    return listed[place] if isinstance(place, int) and place < len(listed) else None


def _scenario_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that may be scenarios, sorted by path."""
    found: list[Path] = []
    for where, folders, files in os.walk(folder):  # does not follow symlinks to folders
        folders[:] = [name for name in folders if name not in PARTS_FOLDERS and name[0] not in "_."]
        for name in files:
            if name.endswith(_SUFFIXES) and name[0] not in "_." and name != FILE_NAME:
                found.append(Path(where) / name)
        if len(found) > FILES_MAX:
            raise UsageError(
                f"more than {FILES_MAX} scenario files below {folder}",
                hint="name the folders or files you mean",
            )
    yield from sorted(found)


def _names_compared(loaded: list[Loaded]) -> list[Loaded]:
    first: dict[str, Loaded] = {}
    return [_name_compared(one, first.setdefault(one.scenario.name, one)) for one in loaded]


def _name_compared(one: Loaded, first: Loaded) -> Loaded:
    if one is first:
        return one
    problem = Problem(
        "W005",
        "warning",
        "description",
        f"{first.file} has the same name, {one.scenario.name[:80]!r}: reports cannot tell them apart",
        one.file,
        hint="give each scenario a description of its own",
    )
    return replace(one, problems=(*one.problems, problem))


def _tagged(loaded: list[Loaded], tags: Mapping[str, str]) -> list[Loaded]:
    found = [one for one in loaded if tags.items() <= one.scenario.tags.items()]
    if found:
        return found
    wanted = ", ".join(f"{key}={value}" for key, value in tags.items())
    present = sorted({f"{key}={value}" for one in loaded for key, value in one.scenario.tags.items()})
    raise UsageError(
        f"none of {len(loaded)} scenarios is tagged {wanted}",
        hint=f"their tags: {', '.join(present[:20])}" if present else "they carry no tags",
    )
