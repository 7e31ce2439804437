"""Which commit a folder is at, read without running what lies in it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from salvo_core.scenario.commit import commit_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHOWN = COMMIT[:12]


def repository(folder, head="ref: refs/heads/main\n", **files):
    git = folder / ".git"
    git.mkdir()
    (git / "HEAD").write_text(head)
    (git / "config").write_text("")
    for name, text in files.items():
        file = git / name.replace("__", "/").replace("_", "-")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return git


def test_a_branch_says_which_commit_it_is_at(tmp_path):
    repository(tmp_path, refs__heads__main=f"{COMMIT}\n")
    below = tmp_path / "evals" / "deep"
    below.mkdir(parents=True)
    assert commit_of(tmp_path) == commit_of(below) == SHOWN


def test_a_commit_that_is_checked_out_itself_is_told(tmp_path):
    repository(tmp_path, head=f"{COMMIT}\n")
    assert commit_of(tmp_path) == SHOWN


def test_branches_that_git_has_packed_are_found(tmp_path):
    other = "f" * 40
    lines = ("# pack-refs with: peeled", f"{other} refs/heads/mainline", f"{COMMIT} refs/heads/main")
    repository(tmp_path, packed_refs="\n".join((*lines, f"^{other}", "")))
    assert commit_of(tmp_path) == SHOWN


def test_a_worktree_is_told_by_the_repository_it_belongs_to(tmp_path):
    main, tree = tmp_path / "main", tmp_path / "tree"
    main.mkdir()
    tree.mkdir()
    git = repository(main, refs__heads__side=f"{COMMIT}\n")
    own = git / "worktrees" / "tree"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/side\n")
    (own / "commondir").write_text("../..\n")
    (tree / ".git").write_text(f"gitdir: {own}\n")
    assert commit_of(tree) == SHOWN


@pytest.mark.parametrize(
    "head",
    [
        "",
        "ref: refs/heads/../../../secret\n",
        "ref: refs/heads/unborn\n",
        "\x00\xff",
        "0123\n",
        f"{COMMIT} and more",
    ],
    ids=["empty", "outside", "unborn", "binary", "short", "more"],
)
def test_what_is_no_commit_is_not_told_and_nothing_fails(tmp_path, head):
    repository(tmp_path, head=head)
    (tmp_path / "secret").write_text(COMMIT)
    assert commit_of(tmp_path) == ""


def test_a_folder_that_is_no_repository_has_no_commit(tmp_path):
    assert commit_of(tmp_path) == ""
    assert commit_of(tmp_path / "missing") == ""
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert commit_of(tmp_path) == ""


@pytest.fixture
def real(tmp_path):
    """A real repository with one commit; skipped where there is no git."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    folder = tmp_path / "real"
    folder.mkdir()

    def git(*arguments):
        told = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments]
        return subprocess.run(
            told, cwd=folder, env=environ, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (folder / "trial.yaml").write_text("prompt: hello\n")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return folder, git


def test_tracked_files_that_differ_are_told(real):
    folder, git = real
    commit = git("rev-parse", "HEAD")[:12]
    assert commit_of(folder) == commit
    (folder / "new.txt").write_text("not tracked")
    assert commit_of(folder) == commit
    (folder / "trial.yaml").write_text("prompt: hello, you\n")
    assert commit_of(folder) == f"{commit}-dirty"
    git("pack-refs", "--all")
    assert commit_of(folder) == f"{commit}-dirty"


@pytest.mark.parametrize(
    "harm",
    [
        "[core]\n\tfsmonitor = {program}\n",
        '[filter "x"]\n\tclean = {program}\n',
        "[include]\n\tpath = {include}\n",
    ],
    ids=["fsmonitor", "filter", "include"],
)
def test_nothing_that_a_repository_names_is_run(real, harm):
    folder, _ = real
    ran, program, include = folder / "ran", folder / "program.sh", folder / "more"
    program.write_text(f"#!/bin/sh\ntouch {ran}\ncat\n")
    program.chmod(0o755)
    include.write_text(f'[filter "x"]\n\tclean = {program}\n')
    (folder / ".gitattributes").write_text("*.yaml filter=x\n")
    with (folder / ".git" / "config").open("a") as config:
        config.write(harm.format(program=program, include=include))
    (folder / "trial.yaml").write_text("prompt: HELLO\n")
    assert len(commit_of(folder).removesuffix("-dirty")) == 12
    assert not ran.exists()
