"""Options that several commands share: one spelling, one help text, one check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from salvo_core.errors import UsageError

TRIALS_MAX = 1_000_000

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, a unique beginning of one, or 'latest'.")]
RunNamed = Annotated[
    str, typer.Argument(metavar="RUN", help="Run id, a unique beginning of one, or 'latest'.")
]
AllowInfra = Annotated[
    bool,
    typer.Option(
        "--allow-infra", help="Let infrastructure errors not decide the exit code, if any trial was graded."
    ),
]

Paths = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="PATH", help="Scenario files, or folders of them; by default the project's scenarios folder."
    ),
]
Trials = Annotated[
    int,
    typer.Option("--trials", "-n", min=1, max=TRIALS_MAX, metavar="N", help="Repetitions of each cell."),
]
# Spellings that people's fingers know from elsewhere; the last one given wins over -n.
Epochs = Annotated[int | None, typer.Option("--epochs", "--repeat", min=1, max=TRIALS_MAX, hidden=True)]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", metavar="MODEL",
        help="Model to run every scenario with, instead of its own; repeat for several.",
    ),
]  # fmt: skip
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--max-concurrency", "-j", min=1, metavar="N", help="Trials of this run at once, over all workers."
    ),
]
Parallel = Annotated[int | None, typer.Option("--parallel", min=1, hidden=True)]  # the predecessor's name
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", min=0.0, max=1.0, metavar="X", help="Mean score a cell must reach, 0 to 1."),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="K=V", help="Only scenarios that carry this tag; repeat to narrow."),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="K=V", help="A note kept with the run, such as commit=3f2a; repeatable."),
]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="KEY", help="Submitting again with the same key gives the same run."
    ),
]


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Return the mapping that repeated ``K=V`` options stand for.

    Raises:
        UsageError: One has no ``=`` or no name, or a name comes twice with different values.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            raise UsageError(
                f"{option} {text!r} is not of the form name=value", hint=f"{option} team=checkout"
            )
        if found.setdefault(name, value) != value:
            raise UsageError(
                f"{option} {name} is given twice, as {found[name]!r} and as {value!r}",
                hint="every tag must match, so no scenario could"
                if option == "--tag"
                else "keep one of them",
            )
    return found
