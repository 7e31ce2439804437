"""The laws of the house, read from the code itself: who may import whom, and what a room looks like."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("salvo_core", "salvo_worker", "salvo_cli")

GROUND = ("errors", "identity", "clock", "version", "settings", "imports")
ROOMS = (
    "stats", "trace", "store", "adapters", "evaluation", "scenario", "trial", "manifest", "fleet", "run",
    "alerts", "predecessor",
)  # fmt: skip
"""From the ground up: a room may import the ground, itself, and the rooms before it."""

DOORS = (
    "record",
    "seal",
    "judge",
    "relinquish",
    "attempt",
    "submit",
    "foresee",
    "resume",
    "cancel",
    "reorder",
    "fire",
    "follow",
    "past_nights",
    "pause",
    "retry",
    "extend",
    "sweep",
    "observe",
    "replay",
    "history",
    "rescore",
    "reevaluate",
    "compare",
    "carry_over",
    "restore",
    "rebuild",
    "audit",
    "repair",
    "pack",
    "export",
)

ONLY_IN = {
    "boto3": ("salvo_core/store/",),
    "botocore": ("salvo_core/store/",),
    "httpx": ("salvo_core/adapters/line.py",),
    "aiohttp": ("salvo_core/adapters/line.py",),
    "yaml": ("salvo_core/scenario/source.py",),
    "celery": ("salvo_worker/",),
    "kombu": ("salvo_worker/",),
    "billiard": ("salvo_worker/",),
    "greenlet": ("salvo_worker/",),
    "typer": ("salvo_cli/",),
    "rich": ("salvo_cli/",),
    "cronsim": ("salvo_core/run/schedule.py",),
    "pyarrow": ("salvo_cli/tables.py",),
    "uvicorn": ("salvo_cli/simulator/",),
    "redis": ("salvo_core/manifest/", "salvo_core/fleet/", "salvo_worker/"),
}

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "managers"}


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every absolute module a file names in an import, deferred ones too, with its line."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def rank(dotted: str) -> int | None:
    """How high in the core a module stands; None for what is not of the core."""
    parts = dotted.split(".")
    if parts[0] != "salvo_core" or len(parts) < 2:
        return None
    if parts[1] in GROUND:
        return 0
    if parts[1] in ROOMS:
        return 1 + ROOMS.index(parts[1])
    return 1 + len(ROOMS)


def dotted_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    here = dotted_name(path)
    package, own_rank = here.split(".")[0], rank(here)
    for line, target in imports(path):
        where = f"{relative(path)}:{line} imports {target}"
        if package == "salvo_core":
            assert not target.startswith(("salvo_worker", "salvo_cli")), where
            target_rank = rank(target)
            if own_rank is not None and target_rank is not None:
                assert target_rank <= own_rank, f"{where}, which stands above it"
        if package == "salvo_worker":
            assert not target.startswith("salvo_cli"), where


def test_no_imports_run_in_a_circle() -> None:
    known = {dotted_name(path).removesuffix(".__init__"): path for path in modules()}
    graph = {
        name: {target for _, target in imports(path) if target in known and target != name}
        for name, path in known.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_command_line_reaches_the_worker_through_its_wiring_alone() -> None:
    allowed = {"salvo_cli/wiring.py", "salvo_cli/commands/worker.py"}
    found = {
        relative(path)
        for path in modules()
        if path.is_relative_to(ROOT / "salvo_cli")
        for _, target in imports(path)
        if target.startswith("salvo_worker")
    }
    assert found <= allowed


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    for path in modules():
        for line, target in imports(path):
            if target == library or target.startswith(library + "."):
                assert relative(path).startswith(ONLY_IN[library]), (
                    f"{relative(path)}:{line} imports {target}"
                )


@pytest.mark.parametrize("path", [p for p in modules() if p.name == "__init__.py"], ids=relative)
def test_a_rooms_init_is_its_docstring_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the room does not say what it owns"
    assert len(tree.body) == 1


def test_only_the_settings_read_the_environment() -> None:
    # The process's entry points hand the environment over; they do not look into it.
    entrances = {"salvo_worker/main.py", "salvo_cli/main.py", "salvo_cli/wiring.py", "salvo_cli/embedded.py"}
    readers = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            if named and isinstance(node.value, ast.Name) and node.value.id == "os":
                readers.add(relative(path))
    assert readers <= entrances


@pytest.mark.parametrize("path", modules(), ids=relative)
def test_files_and_functions_stay_small_enough_to_read(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= FILE_LINES_MAX, "is there a seam in the domain?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert not [relative(path) for path in modules() if path.stem in FORBIDDEN_NAMES]


def test_the_rooms_and_doors_are_the_ones_that_the_plan_draws() -> None:
    here = ROOT / "salvo_core"
    rooms = {path.name for path in here.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    files = {path.stem for path in here.glob("*.py")} - {"__init__"}
    assert rooms == set(ROOMS)
    assert files == {*GROUND, *DOORS}
