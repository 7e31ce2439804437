"""The predecessor, installed where nothing else is, and run as its users run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.cache import CannotInstall, cache_folder, install_lock, say
from tests.servers.command import run_loudly

VERSION = "0.1.1"
REQUIREMENTS = (f"salvo-ai[openai]=={VERSION}", "uuid6>=2024.7.10; python_version < '3.14'")

_ADVICE = (
    "To go on: make the package index reachable for pip (PIP_INDEX_URL, a proxy) and run "
    "`python -m tests.differential install` again; it resumes."
)
# The predecessor calls uuid.uuid7, which Python has since 3.14, whatever its metadata says.
_SUPPLIED = """\
import uuid

if not hasattr(uuid, "uuid7"):
    import uuid6

    uuid.uuid7 = uuid6.uuid7
"""
_INTERPRETER = f"python{sys.version_info.major}.{sys.version_info.minor}"


def find_predecessor() -> Path | None:
    """Return the Python of the predecessor's environment; None while it is not wholly installed."""
    python = _environment() / "bin" / "python"
    return python if _mark().is_file() and _mark().read_text() == _wanted() and python.exists() else None


def install_predecessor() -> Path:
    """Return the Python of the predecessor's environment, having made it if there is none.

    Raises:
        CannotInstall: No network, no package, or it does not start; says what to do.
    """
    found = find_predecessor()
    if found:
        return found
    with install_lock():
        return find_predecessor() or _install()


def _environment() -> Path:
    return cache_folder() / f"salvo-ai-{VERSION}-{_INTERPRETER}"


def _mark() -> Path:
    return _environment() / "installed"


def _wanted() -> str:
    return "\n".join([*REQUIREMENTS, _SUPPLIED])


def _install() -> Path:
    say(f"installing salvo-ai {VERSION} and the openai package beside it, once")
    folder = _environment()
    run_loudly([sys.executable, "-m", "venv", "--clear", str(folder)], advice=_ADVICE, timeout_s=120)
    python = folder / "bin" / "python"
    quick_to_fail = ["--retries", "1", "--timeout", "20", "--no-input", "--disable-pip-version-check"]
    run_loudly(
        [str(python), "-m", "pip", "install", *quick_to_fail, *REQUIREMENTS],
        advice=_ADVICE,
        timeout_s=300,
        env={"PYTHONPATH": ""},
    )
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "uuid7_supplied.py").write_text(_SUPPLIED)
    (packages / "uuid7_supplied.pth").write_text("import uuid7_supplied\n")
    said = subprocess.run(
        [str(folder / "bin" / "salvo"), "--version"],
        capture_output=True,
        text=True,
        env=clean_environ({}),
        check=False,
    )
    if said.returncode != 0 or not said.stdout.startswith("salvo "):
        raise CannotInstall(f"the predecessor does not start: {(said.stderr or said.stdout)[-800:]}")
    _mark().write_text(_wanted())
    say(f"installed {folder}")
    return python


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return these variables and what a program needs to run at all: no key, no setting of this machine."""
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**inherited, "PYTHONUTF8": "1", "COLUMNS": "120", **environ}
