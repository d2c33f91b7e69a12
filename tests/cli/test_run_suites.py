"""Suites of one's own: exported episodes, image folders, and base data from elsewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.running import PLUGIN, Outcome, results, run_in
from PIL import Image
from results_factory import make_result, make_suite, store_results

import metabench
from metabench.suites.from_address import addressed_suite

EPISODES = 6
MANIFEST = ("run", "-p", "my.py", "-s", "manifest:some.json", "--threads", "1")
FOLDER = "manifest-digits-5w1s-f2b33d"


class NearestCentroid(metabench.Learner):
    """As `centroid` of the plugin, in this process."""

    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -metabench.squared_distances(query_x.flatten(1), centroids)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[Path, Outcome]:
    """A folder in which exported digits were run; for reading only."""
    folder = tmp_path_factory.mktemp("manifest")
    (folder / "my.py").write_text(PLUGIN)
    exported = run_in(
        folder, "export-manifest", "digits-5w1s", "--episodes", EPISODES, "-o", "some.json"
    )
    assert exported == (0, "", "wrote some.json\n")
    return folder, run_in(folder, *MANIFEST, "-a", "centroid", "-a", "projected", "-j", "2")


@pytest.mark.slow
def test_exported_episodes_have_the_scores_of_the_suite(first) -> None:
    result = results(first[0] / "results-smoke")[f"{FOLDER}/centroid/default-s0-smoke-cpu.json"]
    suite = metabench.evaluate(NearestCentroid, "digits-5w1s", episodes=EPISODES)
    assert np.array_equal(result.per_episode(), suite.scores)
    assert len(set(suite.scores)) > 1
    assert (result.suite.episodes, result.suite.way, result.suite.query) == (EPISODES, 5, 15)


def test_their_results_do_not_take_the_place_of_the_suites(first) -> None:
    folder, _ = first
    plan = run_in(folder, *MANIFEST, "-s", "digits-5w1s", "-a", "centroid", "--dry-run").out
    rows = [row.split() for row in plan.splitlines()[2:]]
    assert [(row[0], row[-2]) for row in rows] == [(FOLDER, "done"), ("digits-5w1s", "new")]


def test_a_meta_learner_without_base_data_is_not_applicable(first) -> None:
    folder, outcome = first
    assert outcome.code == 0
    result = results(folder / "results-smoke")[f"{FOLDER}/projected/default-s0-smoke-cpu.json"]
    assert result.status == "not_applicable"
    assert result.failure is not None
    assert "--train-on SUITE" in result.failure.reason
    (row,) = (line for line in outcome.out.splitlines() if "| `projected`" in line)
    assert "not applicable" in row
    assert "failed" not in outcome.err


def test_it_is_done_and_not_run_again(first, tmp_path: Path, cli) -> None:
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    outcome = cli(*MANIFEST, "-a", "projected")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.count("\n") == 1
    assert "has no base data to train on" in outcome.err


def test_base_data_may_come_from_another_suite(first, tmp_path: Path, cli) -> None:
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    args = ("-a", "projected", "--train-on", "digits-5w1s")
    outcome = cli(*MANIFEST, *args, "--in-process")
    assert outcome.code == 0
    assert outcome.out.startswith(f"{FOLDER} projected seed 0: ")
    assert outcome.out.endswith(f"% on {EPISODES} episodes (not stored)\n")
    plan = cli(*MANIFEST, *args, "--dry-run").out.splitlines()
    assert plan[-1].split()[-2:] == ["new", "run"]  # the cell without base data is another


@pytest.mark.slow
def test_the_table_says_where_base_data_came_from(first, tmp_path: Path, cli) -> None:
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    outcome = cli(*MANIFEST, "-a", "projected", "--train-on", "digits-5w1s")
    assert outcome.code == 0
    path = f"{FOLDER}/projected/train_on=digits-5w1s-s0-smoke-cpu.json"
    result = results(tmp_path / "results-smoke")[path]
    assert (result.status, result.suite.train_on) == ("ok", "digits-5w1s")
    assert result.training is not None
    assert result.training.updates == 5
    assert "trained on digits-5w1s" in outcome.out


def test_a_suite_without_base_data_cannot_lend_any(first, tmp_path: Path, cli) -> None:
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    args = ("run", "-s", "digits-5w1s", "-a", "chance", "--train-on", "manifest:some.json")
    outcome = cli(*args)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"metabench: error: --train-on {FOLDER}: it has no base data to train on\n"
    )


def test_a_folder_of_images_is_a_suite(tmp_path: Path, cli) -> None:
    for c in range(3):  # three shades are classified without a mistake
        (tmp_path / "shades" / str(c)).mkdir(parents=True)
        for i in range(4):
            image = np.full((8, 8), 100 * c + i, dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "shades" / str(c) / f"{i}.png")
    (tmp_path / "my.py").write_text(PLUGIN)
    suite = "folder:shades[way=3,query=2,split=novel,size=0,episodes=5]"
    outcome = cli("run", "-p", "my.py", "-s", suite, "-a", "centroid", "--in-process")
    assert outcome.code == 0, outcome.err
    line = r"folder-shades-3w1s-\w{6} centroid seed 0: 100.00% on 5 episodes \(not stored\)\n"
    assert re.fullmatch(line, outcome.out)


@pytest.mark.parametrize(
    "verb",
    [("leaderboard",), ("compare", "good", "bad"), ("gate", "--baseline", "results")],
)
def test_verbs_that_read_results_take_a_suite_as_run_does(tmp_path: Path, cli, verb) -> None:
    for c, i in np.ndindex(2, 3):
        file = tmp_path / "shades [v2]" / str(c) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 100 * c + i, dtype=np.uint8)).save(file)
    typed = "folder:./shades [v2][query=2,way=2,split=novel,shot=01]"
    suite = addressed_suite(typed.replace("./", f"{tmp_path}/"), None)
    assert suite is not None
    facts = make_suite(suite.name, way=2, query=2)
    made = [make_result(name, suite=facts, status="ok") for name in ("good", "bad")]
    store_results(tmp_path / "results", [*made, make_result("good")])
    outcome = cli(*verb, "-s", typed)
    assert suite.name in outcome.out
    assert "results/digits-5w1s" not in outcome.out
    other = cli(*verb, "-s", typed.replace("query=2", "query=1"))
    assert other.code == 4
    assert other.out == ""
