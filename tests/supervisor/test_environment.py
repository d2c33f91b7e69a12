from __future__ import annotations

import subprocess

import pytest

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
