from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import metabench.git as git_module
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


@pytest.fixture
def program(repository: Path) -> Path:
    """A program that makes the file `ran`."""
    file = repository / "program"
    file.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    file.chmod(0o755)
    return file


def test_no_program_of_the_folder_is_run(repository: Path, program: Path) -> None:
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


@pytest.mark.parametrize("name", ["lfs", "", "a.b", "A c", 'q"'])
@pytest.mark.parametrize("kind", ["clean", "smudge", "process"])
def test_no_filter_of_the_folder_is_run(
    kind: str, name: str, repository: Path, program: Path
) -> None:
    subprocess.run(["git", "config", f"filter.{name}.{kind}", str(program)], check=True)
    subprocess.run(["git", "config", f"filter.{name}.required", "true"], check=True)
    # An attribute cannot name all of these; which filters are off does not depend on that.
    (repository / ".git" / "info" / "attributes").write_text(f"* filter={name}\n")
    (repository / "tracked").write_text("two")
    assert git("status", "--porcelain", "tracked") == "M tracked"
    git("read-tree", "HEAD", index=repository / "index")
    git("checkout-index", "--all", "--prefix=out/", index=repository / "index")
    assert (repository / "out" / "tracked").read_text() == "one"
    assert not (repository / "ran").exists()


def test_a_filter_that_cannot_be_switched_off_is_an_error(repository: Path, program: Path) -> None:
    subprocess.run(["git", "config", "filter.a=b.clean", str(program)], check=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=a=b\n")
    (repository / "tracked").write_text("two")
    with pytest.raises(GitError, match="contains '='"):
        git("status", "--porcelain")
    assert not (repository / "ran").exists()


@pytest.mark.parametrize("variable", ["GIT_NO_LAZY_FETCH", "GIT_ALLOW_PROTOCOL"])
def test_objects_that_are_missing_are_not_fetched(
    variable: str, repository: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the variables suffices; versions of git know one or both."""
    for key, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", str(repository)),
        ("remote.origin.uploadpack", f"{program} && exit 1 #"),
    ):
        subprocess.run(["git", "config", key, value], check=True)
    blob = git("rev-parse", "HEAD:tracked")
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    other = {k: v for k, v in git_module._NO_FETCH.items() if k == variable}
    monkeypatch.setattr(git_module, "_NO_FETCH", other)
    with pytest.raises(GitError):
        git("cat-file", "blob", blob)
    assert not (repository / "ran").exists()
    subprocess.run(["git", "cat-file", "blob", blob], capture_output=True, stdin=subprocess.DEVNULL)
    assert (repository / "ran").exists()
