"""Options that several commands share: one spelling, one help text, one check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from salvo_core.errors import UsageError

if TYPE_CHECKING:
    from salvo_core.run.route import Priority
    from salvo_core.trace.recording import RecordingMode

TRIALS_MAX = 1_000_000
TRIES_MAX = 4
K_MAX = 1_000

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, nothing else there.")]
RunJson = Annotated[
    bool,
    typer.Option("--json", "--format-json", help="Print one JSON document on stdout, nothing else there."),
]  # the second is the predecessor's name
Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Write a web page, too: one file with plots, no scripts."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-V", "--report", "--diagnose",
        help="Add details, also on PASS: how each figure spreads, every failure whole.",
    ),
]  # fmt: skip
Details = Annotated[
    bool,
    typer.Option(
        "--verbose", "-V", help="Add details: how each figure spreads, every failure whole, how trials ended."
    ),
]
Legacy = Annotated[
    bool,
    typer.Option("--legacy", help="Print the JSON of the first Salvo's `run --json`, for one cell."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would change; change nothing.")]
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


def _named(models: list[str] | None) -> list[str] | None:
    """Refuse what a variable that is not set leaves behind: no provider has a model without a name."""
    if any(not model.strip() for model in models or ()):
        raise typer.BadParameter("a model has a name")
    return models


Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", metavar="MODEL", callback=_named,
        help="Model to run every scenario with, instead of its own; repeat for several.",
    ),
]  # fmt: skip
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--max-concurrency", "-j", min=1, metavar="N", help="Trials of this run at once, over all workers."
    ),
]
PriorityWord = Annotated[
    str | None,
    typer.Option(
        "--priority", metavar="WORD",
        help="high, normal or low: which run's trials workers take first [normal]. Equals take turns.",
    ),
]  # fmt: skip
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
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--budget-usd", min=0.0, max=1_000_000.0, metavar="USD",
        help="Most the run may spend, judges included; what does not fit is skipped.",
    ),
]  # fmt: skip
BudgetTokens = Annotated[
    int | None,
    typer.Option(
        "--budget-tokens",
        min=0,
        metavar="N",
        help="Most tokens the run may use, input and output, judges too.",
    ),
]
AllowUnpriced = Annotated[
    bool,
    typer.Option(
        "--allow-unpriced",
        help="With a budget: models of unknown price count as nothing, and agents may be asked whose "
        "exchanges nobody bounds.",
    ),
]
EarlyStop = Annotated[
    bool,
    typer.Option(
        "--early-stop",
        help="Skip a cell's trials that have not begun once its verdict is decided: after a hard fail, or "
        "when its bar is out of reach. A rule may follow, sprt or confidence. With -j, fewer have begun.",
    ),
]
StopRule = Annotated[
    str | None,
    typer.Option(
        "--stop-rule", metavar="RULE",
        help="Of --early-stop: curtail, or a test of the pass rate after every trial, which also "
        "passes early: sprt or confidence [curtail].",
    ),
]  # fmt: skip
PassRate = Annotated[
    float | None,
    typer.Option(
        "--pass-rate", metavar="P",
        help="Judge cells by their pass rate: all of its interval must lie above this.",
    ),
]  # fmt: skip
Confidence = Annotated[
    float | None,
    typer.Option("--confidence", metavar="C", help="Of that interval, 0.5 to 1 [0.95]."),
]
Alpha = Annotated[
    float | None,
    typer.Option(
        "--alpha", metavar="A",
        help="With sprt or confidence: chance of passing an agent that should not [0.05].",
    ),
]  # fmt: skip
Beta = Annotated[
    float | None,
    typer.Option("--beta", metavar="B", help="With sprt: chance of failing one that should not [0.05]."),
]
Indifference = Annotated[
    float | None,
    typer.Option(
        "--indifference", metavar="D",
        help="With sprt: an agent this near to the pass rate may be called either [0.05].",
    ),
]  # fmt: skip
Recording = Annotated[
    str | None,
    typer.Option(
        "--recording", metavar="MODE",
        help="What traces keep: full, or metadata_only, which leaves no content anywhere [salvo.yaml, full].",
    ),
]  # fmt: skip
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", metavar="KEY", help="Submitting again with the same key gives the same run."
    ),
]
ScenarioShown = Annotated[
    str,
    typer.Option(
        "--scenario", "-s", metavar="TEXT",
        help="Only the scenario of that name, else those whose name or file has it.",
    ),
]  # fmt: skip
ModelsShown = Annotated[
    list[str] | None, typer.Option("--model", "-m", metavar="MODEL", help="Only this model; repeatable.")
]

TriesShown = Annotated[
    str | None,
    typer.Option("--k", metavar="K,...", help="The k of pass@k and pass^k, such as 3,5 [1,2,4,8]."),
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Clopper-Pearson intervals, which never cover less than they say.")
]


def tries_of(text: str | None) -> tuple[int, ...] | None:
    """Return the numbers that ``--k 3,5`` stands for, None if it was not given.

    Raises:
        UsageError: They are no such numbers, or too many to be shown side by side.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    found = sorted({int(word) for word in words if word.isascii() and word.isdigit() and len(word) <= 4})
    if not all(word.isascii() and word.isdigit() for word in words) or not 0 < len(words) <= TRIES_MAX:
        raise UsageError(
            f"--k {text[:40]!r} is not a list of tries", hint=f"such as --k 3,5; {TRIES_MAX} at most"
        )
    if len(found) < len(set(words)) or not 1 <= found[0] <= found[-1] <= K_MAX:
        raise UsageError(f"--k {text[:40]!r}: each k is from 1 to {K_MAX:,}", hint="such as --k 3,5")
    return tuple(found)


def verdicts(words: list[str] | None) -> frozenset[str]:
    """Return the verdicts that words such as ``pass``, ``hard-fail`` or ``INFRA_ERROR`` mean.

    Raises:
        UsageError: A word is no verdict.
    """
    from salvo_core.run.verdict import EXIT_CODES  # after --help

    known = {_folded(verdict): verdict for verdict in EXIT_CODES}
    if unknown := [word for word in words or () if _folded(word) not in known]:
        shown = ", ".join(verdict.replace(" ", "_") for verdict in EXIT_CODES)
        raise UsageError(f"{unknown[0][:40]!r} is not a verdict", hint=f"one of {shown}")
    return frozenset(known[_folded(word)] for word in words or ())


def filter_words(scenario: str, models: list[str] | None) -> str:
    """Return a filter as a person would say it: ``scenario 'refund', model 'gpt-4o'``; empty without one."""
    told = [f"scenario {scenario[:80]!r}"] if scenario else []
    return ", ".join([*told, *(f"model {model[:80]!r}" for model in models or ())])


def _folded(word: str) -> str:
    return word.strip().casefold().replace("_", " ").replace("-", " ")


def recording_mode(word: str | None) -> RecordingMode | None:
    """Return the mode that ``--recording`` names, None if it was not given.

    Raises:
        UsageError: There is no such mode.
    """
    from salvo_core.trace.recording import RecordingMode  # after --help

    if word is None:
        return None
    known: tuple[RecordingMode, ...] = get_args(RecordingMode)
    for mode in known:
        if mode == _folded(word).replace(" ", "_"):
            return mode
    raise UsageError(f"{word[:40]!r} is no way to record", hint=f"one of {', '.join(known)}")


def priority(word: str | None) -> Priority:
    """Return the priority that ``--priority`` names, ``normal`` if it was not given.

    Raises:
        UsageError: There is no such priority.
    """
    from salvo_core.run.route import PRIORITIES  # after --help

    for known in PRIORITIES:
        if known == _folded(word or "normal"):
            return known
    raise UsageError(f"{str(word)[:40]!r} is no priority", hint=f"one of {', '.join(PRIORITIES)}")


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
