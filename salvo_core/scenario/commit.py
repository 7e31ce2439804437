"""Which git commit a folder is at, as far as that can be told without trusting what lies in it.

The commit is read from git's own files, so no git needs to be there. Whether files differ from it only
git can say; it is asked with a time limit, and not at all where the repository's configuration would
have it start programs: whoever may write scenarios may not run code.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

ASKED_S_MAX = 2.0
SHOWN = 12
"""Digits of a commit that are kept."""
DIRTY = "-dirty"
_BYTES_MAX = 4 * 1024 * 1024
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/[^\s\x00]{1,250})")
_STARTS_PROGRAMS = re.compile(r"\[\s*(filter|include|includeif|diff)\b|worktreeconfig", re.IGNORECASE)


def commit_of(folder: Path) -> str:
    """Return the commit of the folder's repository, ``-dirty`` behind it if tracked files differ; or "".

    Never fails, and takes ASKED_S_MAX seconds at most.

    Args:
        folder: In a repository or not.
    """
    with suppress(OSError, ValueError, RuntimeError):
        git = _git_folder(folder.resolve())
        if git is not None and (commit := _head(git)):
            return commit[:SHOWN] + (DIRTY if _is_dirty(folder, git) else "")
    return ""


def _git_folder(folder: Path) -> Path | None:
    for above in (folder, *folder.parents):
        found = above / ".git"
        if found.is_dir():
            return found
        if found.is_file():  # of a worktree or a submodule: it says where
            place = _text(found).removeprefix("gitdir:").strip()
            return above / place if place else None
    return None


def _shared(git: Path) -> Path:
    """Return the folder that the worktrees of a repository share."""
    named = git / "commondir"
    return git / _text(named).strip() if named.is_file() else git


def _head(git: Path) -> str:
    head = _text(git / "HEAD").strip()
    if _COMMIT.fullmatch(head):
        return head
    found = _REF.fullmatch(head)
    if not found or ".." in found[1]:
        return ""
    shared = _shared(git)
    for folder in (git, shared):
        if (folder / found[1]).is_file():
            commit = _text(folder / found[1]).strip()
            return commit if _COMMIT.fullmatch(commit) else ""
    for line in _text(shared / "packed-refs").splitlines():
        commit, _, name = line.partition(" ")
        if name.strip() == found[1] and _COMMIT.fullmatch(commit):
            return commit
    return ""


def _is_dirty(folder: Path, git: Path) -> bool:
    program = shutil.which("git")
    if program is None or _STARTS_PROGRAMS.search(_text(_shared(git) / "config")):
        return False
    asked = [
        *(program, "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
        *("-C", str(folder), "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"),
    ]
    # Its environment is none of ours: that holds keys, and variables that send git elsewhere.
    environ = {"PATH": f"{Path(program).parent}{os.pathsep}{os.defpath}", "HOME": str(Path.home())}
    try:
        answered = subprocess.run(  # noqa: S603 - no shell, and what is asked does not come from the folder
            asked,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASKED_S_MAX,
            check=False,
            env=environ,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return answered.returncode == 0 and bool(answered.stdout.strip())


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_BYTES_MAX).decode("utf-8", "replace")
