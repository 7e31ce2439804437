"""``salvo validate``: what is wrong with scenario files, before a cent is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salvo_cli import exits
from salvo_cli.epilog import epilog
from salvo_cli.options import Json, Paths

if TYPE_CHECKING:
    from salvo_core.scenario.loading import Loaded

EPILOG = epilog(
    [
        "salvo validate                        the project's scenarios folder",
        "salvo validate scenarios/refund.yaml",
        "salvo validate scenarios/ --ci        one line a problem, on stdout",
    ],
    "0 all valid · 64 any problem, nothing to validate, or usage",
)


def validate(
    paths: Paths = None,
    ci: Annotated[
        bool, typer.Option("--ci", help="file:line:col -- field: message, one line a problem, on stdout.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Check scenario files and report every problem of every file at once."""
    from salvo_cli.wiring import surroundings
    from salvo_core.scenario.loading import load_paths
    from salvo_core.scenario.problems import ScenarioInvalid

    here = surroundings()
    try:
        loaded = load_paths(here.scenario_paths(paths or ()), project=here.project)
        errors: Sequence[Any] = ()
    except ScenarioInvalid as error:
        loaded, errors = [], error.problems
    found = [*here.project.problems, *errors, *(problem for one in loaded for problem in one.problems)]
    patterns = here.project.recording.custom_redaction_patterns
    if as_json:
        _print_document(loaded, found, errors, patterns)
    else:
        _print(loaded, found, errors, ci=ci or here.settings.ci_mode, patterns=patterns)
    return exits.USAGE if errors else exits.OK


def _print_document(
    loaded: Sequence[Loaded], found: Sequence[Any], errors: Sequence[Any], patterns: Sequence[str]
) -> None:
    from salvo_cli.render.console import print_json
    from salvo_cli.render.problems import problem_document

    print_json(
        {
            "schema": "salvo.cli.validate/1",
            "valid": not errors,
            "scenarios": [
                {"file": one.file, "name": one.scenario.name, "digest": one.digest} for one in loaded
            ],
            "problems": [problem_document(problem, patterns=patterns) for problem in found],
        }
    )


def _print(
    loaded: Sequence[Loaded],
    found: Sequence[Any],
    errors: Sequence[Any],
    *,
    ci: bool,
    patterns: Sequence[str],
) -> None:
    from salvo_cli.render.console import console, marks, one_line, plain
    from salvo_cli.render.numbers import plural
    from salvo_cli.render.problems import print_problems

    out = console()
    if found:
        print_problems(out if ci else console(stderr=True), found, ci=ci, patterns=patterns)
    for one in loaded:
        line = plain(f"{marks(out).passed} ", "green") + plain(
            f"{one.file}  {one_line(one.scenario.name, 60)}"
        )
        out.print(line, soft_wrap=True)
    wrong = [problem for problem in errors if problem.severity == "error"]
    if not wrong:
        out.print(plain(f"{plural(len(loaded), 'scenario')} valid", "bold"))
        return
    files = len({problem.file for problem in wrong})
    told = f"{plural(len(wrong), 'problem')} in {plural(files, 'file')}"
    (console(stderr=True) if not ci else out).print(plain(told, "bold"))
