from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from metabench.git import GitError, git

NOBODY = ("-c", "user.name=a", "-c", "user.email=a@b")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder is a repository with one commit."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", ".")
    (tmp_path / "tracked").write_text("one")
    git("add", ".")
    git(*NOBODY, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_it_returns_what_git_prints(repository: Path) -> None:
    assert git("log", "--format=%s") == "one"
    (repository / "tracked").write_text("two")
    assert git("status", "--porcelain") == "M tracked"


def test_a_failure_is_one_line(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GitError, match=r"^git says: fatal: [^\n]*$"):
        git("rev-parse", "--verify", "--end-of-options", "--all")
    monkeypatch.setenv("PATH", str(repository))
    with pytest.raises(GitError, match="git cannot be run: No such file or directory"):
        git("status")


def test_the_repository_of_a_hook_is_not_that_of_the_folder(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository / "other"
    other.mkdir()
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    git("init", "--quiet", ".", folder=other)
    assert git("rev-parse", "--show-toplevel", folder=other) == str(other)


def test_no_program_of_the_folder_is_run(repository: Path) -> None:
    program = repository / "program"
    program.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    program.chmod(0o755)
    hook = repository / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_bytes(program.read_bytes())
    hook.chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", str(program)], check=True)
    git("status", "--porcelain")
    git("read-tree", "HEAD", index=repository / "index")
    assert not (repository / "ran").exists()
    subprocess.run(["git", "status"], check=True, capture_output=True)  # which runs it
    assert (repository / "ran").exists()
