from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import metabench.git as git_module
from metabench.supervisor.environment import cpu_model, describe_cpu, git_state

EPYC = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: {family}
model\t\t: {model}
model name\t: AMD EPYC

processor\t: 1
model name\t: another
"""


def test_generations_of_one_name_are_distinguished():
    old, new = (describe_cpu(EPYC.format(family=f, model=m)) for f, m in ((23, 49), (26, 2)))
    assert old == "AMD EPYC (family 23 model 49)"
    assert old != new


@pytest.mark.parametrize(
    ("info", "named"),
    [("model name\t: Cortex-A76\n", "Cortex-A76"), ("processor\t: 0\n", ""), ("", "")],
    ids=["name only", "no name", "empty"],
)
def test_what_the_system_does_not_say_is_left_out(info, named):
    assert describe_cpu(info) == named


def test_this_machine_has_a_name():
    assert cpu_model()


def test_the_commit_is_the_one_there_is_when_it_is_asked_for(tmp_path, monkeypatch):
    """A notebook may commit, and edit, between two runs."""
    monkeypatch.chdir(tmp_path)

    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    results = tmp_path / "results"
    git("init")
    git("commit", "--allow-empty", "-m", "one")
    first = git_state(results)
    (tmp_path / "edited.py").write_text("")
    assert git_state(results) == (first[0], True)
    (tmp_path / "edited.py").unlink()
    for made in ("results", "tests/accuracy-baselines/digits-5w1s"):
        (tmp_path / made).mkdir(parents=True)
        (tmp_path / made / "made.json").write_text("")
    assert git_state(results) == first
    (tmp_path / "edited.py").write_text("")
    git("add", ".")
    git("commit", "-m", "two")
    second = git_state(results)
    assert second[0] != first[0]
    assert (first[1], second[1]) == (False, False)
    (tmp_path / "edited.py").write_text("changed")
    (tmp_path / ".git" / "index").write_bytes(b"damaged")
    assert git_state(results) == (second[0], None)  # unknown, not clean


def test_what_a_submodule_holds_is_unknown_and_none_of_its_programs_run(tmp_path, monkeypatch):
    identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "protocol.file.allow=always")

    def git(*arguments, folder):
        command = ["git", "-C", folder, *identity, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    sub, top = tmp_path / "sub", tmp_path / "top"
    for folder in (sub, top):
        folder.mkdir()
        git("init", folder=folder)
        git("commit", "--allow-empty", "-m", "one", folder=folder)
    (sub / "file").write_text("one")
    git("add", ".", folder=sub)
    git("commit", "-m", "two", folder=sub)
    git("submodule", "add", str(sub), "inner", folder=top)
    git("commit", "-m", "two", folder=top)
    monkeypatch.chdir(top)
    ran = tmp_path / "ran"
    git("config", "filter.f.clean", f"touch {ran}; cat", folder=top / "inner")
    (top / ".git" / "modules" / "inner" / "info" / "attributes").write_text("* filter=f")
    (top / "inner" / "file").write_text("two")
    assert git_state(top / "results")[1] is None
    assert not ran.exists()
    git("commit", "--allow-empty", "-m", "three", folder=top / "inner")
    assert git_state(top / "results")[1] is True  # another commit of it
    git("submodule", "deinit", "--force", "inner", folder=top)
    assert git_state(top / "results")[1] is False  # it is not there


@pytest.mark.parametrize("silent", ["config", "status"])
def test_a_git_that_never_answers_is_asked_once_and_warned_about_once(
    silent: str, tmp_path: Path, monkeypatch, caplog
) -> None:
    fake = tmp_path / "git"
    fake.write_text(
        f"#!/bin/sh\necho run >> {tmp_path}/calls\n"
        f'case "$*" in *{silent}*) exec sleep 60;; esac\necho 0123\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(git_module, "_QUICK" if silent == "config" else "_SECONDS", 2)
    monkeypatch.setattr(git_module, "_unanswered", set())
    commit = None if silent == "config" else "0123"
    assert git_state(tmp_path) == (commit, None)
    assert git_state(tmp_path) == (commit, None)
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "git took more than 2 s"
    ]
    calls = (tmp_path / "calls").read_text().count("run")
    assert calls == (1 if silent == "config" else 11)
