"""`metabench gate --speed-margin`: two versions of the code, timed in turns."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cli.running import Outcome, run_in

PLUGIN = """
import time

import torch

import metabench
from helper import SECONDS


class Centroid(metabench.Learner):
    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        time.sleep(SECONDS)  # other load on the machine hardly prolongs a sleep
        return -torch.cdist(query_x.flatten(1), centroids)


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("centroid", build=Centroid, deterministic=True)
"""


def git(folder: Path, *args: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *args], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a repository with a baseline of its commit and slower uncommitted code."""
    folder = tmp_path_factory.mktemp("speed")
    (folder / "my.py").write_text(PLUGIN)
    (folder / "helper.py").write_text("SECONDS = 0.002\n")
    (folder / "deep").mkdir()
    git(folder, "init", "-q")
    git(folder, "add", "my.py", "helper.py")
    git(folder, "commit", "-qm", "fast")
    made = run_in(folder, "run", "-p", "my.py", "-a", "centroid", "-s", "digits-5w1s")
    assert made.code == 0
    (folder / "helper.py").write_text("SECONDS = 0.02\n")
    return folder


def gate(folder: Path, *args: object) -> Outcome:
    return run_in(folder, "gate", "--speed-margin", "20%", "--rounds", 2, *args)


@pytest.mark.slow
def test_slower_code_fails_against_the_commit_of_the_baseline(made: Path) -> None:
    outcome = gate(made / "deep", "--baseline", "../results-smoke", "-p", "../my.py")
    assert outcome.code == 1, outcome.err
    assert "all outputs are equal" in outcome.out  # it is no worse, only slower
    assert "speed: 1 fail\n" in outcome.out
    (why,) = (line for line in outcome.out.splitlines() if "slower by more than 20%: " in line)
    assert "predict" in why


@pytest.mark.slow
def test_faster_code_passes_against_a_folder(made: Path, tmp_path: Path) -> None:
    for name in ("my.py", "helper.py"):
        (tmp_path / name).write_text((made / name).read_text())
    (tmp_path / "helper.py").write_text("SECONDS = 0.08\n")
    outcome = gate(made, "--baseline", "results-smoke", "-p", "my.py", "--base", tmp_path)
    assert "speed: 1 fail" not in outcome.out
    predict = next(line for line in outcome.out.splitlines() if " predict " in line)
    assert float(predict.split()[5]) < 0.5, predict


@pytest.mark.slow
def test_the_same_code_needs_no_timing(made: Path, tmp_path: Path) -> None:
    for name in ("my.py", "helper.py"):
        (tmp_path / name).write_text((made / name).read_text())
    outcome = gate(made, "--baseline", "results-smoke", "-p", "my.py", "--base", tmp_path)
    assert outcome.code == 0
    assert "speed: 1 pass\n" in outcome.out
    assert "the code is the same" in outcome.out


@pytest.mark.slow
def test_an_installed_plugin_is_not_timed_against_itself(tmp_path: Path, chance_run: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copytree(chance_run, tmp_path, dirs_exist_ok=True)
    outcome = gate(tmp_path, "--baseline", "results-smoke", "--base", "old")
    assert (outcome.code, outcome.out) == (2, "")  # before any cell runs
    assert "chance in " in outcome.err
    assert "old is the current version" in outcome.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--speed-margin", "1pp"), "--speed-margin 1pp: give a share of the time, such as 10%"),
        (("--speed-margin", "10%", "--base", "nope"), "--base nope: no such folder, and git says"),
        (("--speed-margin", "10%", "--rounds", 1), "rounds=1: an interval needs at least 2"),
        (("--base", "HEAD"), "--base needs --speed-margin"),
    ],
)
def test_mistakes_are_one_line_and_cost_no_time(chance_run: Path, args, said: str) -> None:
    outcome = run_in(chance_run, "gate", "--baseline", "results-smoke", *args)
    assert outcome.code == 2
    (line,) = outcome.err.splitlines()
    assert said in line
