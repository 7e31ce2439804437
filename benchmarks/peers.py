"""The other two: the first Salvo and Inspect AI, each in an environment of its own, at the same conversation.

What a process spends before its first trial (imports, mostly) is measured with two trials and taken off, so
that a figure is of trials alone, as ours is. A peer that cannot be installed is skipped, loudly.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.stand import SCENARIO
from tests.differential.predecessor import VERSION, clean_environ, install_predecessor
from tests.servers.cache import CannotInstall, cache_folder, install_lock, say

INSPECT = "inspect-ai==0.3.285"
Peer = Callable[[str, int, int], float]
"""Given the provider's address, trials and concurrency: CPU of one trial, milliseconds."""

_KEY = "sk-bench-not-a-key-0123456789"


def find_peers() -> dict[str, Peer]:
    """Return the peers there are, by name and version, installing them where that is possible."""
    peers: dict[str, Peer] = {}
    for name, make in ((f"salvo-ai {VERSION}", _predecessor), (INSPECT.replace("==", " "), _inspect)):
        try:
            peers[name] = make()
        except (CannotInstall, subprocess.CalledProcessError, OSError) as error:
            print(
                f"SKIPPED: {name} cannot be installed here, so nothing is said of it: {error}",
                file=sys.stderr,
            )
    return peers


def _predecessor() -> Peer:
    salvo = install_predecessor().with_name("salvo")

    def measure(base_url: str, trials: int, concurrency: int) -> float:
        arguments = ["run", SCENARIO.name, "--parallel", str(concurrency), "--json"]
        return _per_trial(lambda n: [salvo, *arguments, "-n", str(n)], base_url, trials)

    return measure


def _inspect() -> Peer:
    folder = cache_folder() / INSPECT.replace("==", "-")
    python = folder / "bin" / "python"
    with install_lock():
        if not (folder / "installed").exists():
            say(f"installing {INSPECT} and the openai package beside it, once")
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True)
            install = [python, "-m", "pip", "install", "--quiet", INSPECT, "openai"]
            subprocess.run(install, check=True, capture_output=True)
            (folder / "installed").touch()
    script = Path(__file__).with_name("inspect_peer.py")

    def measure(base_url: str, trials: int, concurrency: int) -> float:
        return _per_trial(
            # -P: or what lies beside the script would stand for modules of Python's own.
            lambda n: [python, "-P", script, base_url, str(n), str(concurrency), "logs"],
            base_url,
            trials,
        )

    return measure


def _per_trial(command: Callable[[int], list[str | Path]], base_url: str, trials: int) -> float:
    whole_s, start_s = (_cpu_s(command(n), base_url) for n in (trials, 2))
    return (whole_s - start_s) / (trials - 2) * 1000


def _cpu_s(command: list[str | Path], base_url: str) -> float:
    """Return what a command and its children took of user and system time, seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        # In a project of its own: what ours says is not the predecessor's language.
        shutil.copy(SCENARIO, folder)
        Path(folder, "salvo.yaml").touch()
        done = subprocess.run(
            list(map(str, command)),
            cwd=folder,
            env=clean_environ({"HOME": folder, "OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": _KEY}),
            capture_output=True,
            text=True,
            check=False,
        )
    # (The predecessor ends with 1 here although every trial passed: its report is what is believed.)
    if done.returncode and '"verdict": "PASS"' not in done.stdout:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
