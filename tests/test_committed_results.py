"""The statements of the docs about the committed results, derived from these again."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest

from metabench.plugins.registry import load_plugins
from metabench.plugins.sources import PluginSources
from metabench.results.schema import Result
from metabench.statistics.intervals import mean_ci
from metabench.tables import formatting
from metabench.tables.formats import render
from metabench.tables.leaderboard_frame import leaderboard, read, with_code_state
from metabench.tables.ranked_tables import build_tables
from metabench.tables.rows import StoredResult

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"

# Mean and half of the 95 % interval: Li et al. 2017 (arXiv:1707.09835), table 1, 5-shot training.
PUBLISHED = {
    ("maml", 5): (1.13, 0.18),
    ("maml", 10): (0.85, 0.14),
    ("maml", 20): (0.71, 0.12),
    ("meta-sgd", 5): (0.90, 0.16),
    ("meta-sgd", 10): (0.63, 0.12),
    ("meta-sgd", 20): (0.50, 0.10),
}
CELL = re.compile(r"\| `(?P<suite>[\w-]+)` \| `(?P<row>[^`]+)` \| (?P<here>[^|]+) \| [^|]+ \|")


@functools.cache
def committed() -> list[StoredResult]:
    cells, problems = read(RESULTS)
    assert not problems
    return cells


def result(suite: str, algorithm: str, chosen: str = "default", budget: str = "paper") -> Result:
    name = f"{suite}/{algorithm}/{chosen}-s0-{budget}-cpu.json"
    (found,) = [
        cell.result for cell in committed() if cell.file is not None and str(cell.file) == name
    ]
    return found


def test_the_leaderboard_is_the_one_that_the_results_make() -> None:
    plugins = load_plugins(PluginSources(restrict=("builtin",)))
    text = (ROOT / "leaderboard.md").read_text(encoding="utf-8")
    assert text == render("md", build_tables(with_code_state(committed(), plugins)), "results")


@pytest.mark.parametrize(("algorithm", "shot"), PUBLISHED)
def test_sinusoids_agree_with_the_published_errors(algorithm: str, shot: int) -> None:
    value, half = PUBLISHED[algorithm, shot]
    found = result(f"sinusoid-freq-{shot}s", algorithm, "train_shot=5")
    rounded = round(found.per_episode().mean(), 2)  # as the paper's are
    assert abs(rounded - value) <= half + 1e-9


@pytest.mark.parametrize("shot", [5, 10, 20])
def test_meta_sgd_beats_maml_on_the_same_functions(shot: int) -> None:
    suite = f"sinusoid-freq-{shot}s"
    maml, meta_sgd = (result(suite, a, "train_shot=5") for a in ("maml", "meta-sgd"))
    assert maml.suite.episodes_digest == meta_sgd.suite.episodes_digest
    assert mean_ci(maml.per_episode() - meta_sgd.per_episode()).lo > 0


def test_one_step_of_maml_leaves_far_less_error_than_pretraining() -> None:
    maml, pretrained = (result("sinusoid-5s", a).per_episode() for a in ("maml", "pretrained"))
    assert maml.mean() < pretrained.mean() / 3
    assert mean_ci(pretrained - maml).lo > 1


@pytest.mark.parametrize("learner", ["maml", "meta-sgd"])
@pytest.mark.parametrize("floor", ["untrained", "pixel-1nn", "cnn-adam"])
@pytest.mark.parametrize("suite", ["glyphs-5w1s", "digits-chunks"])
def test_learning_from_base_classes_pays(suite: str, learner: str, floor: str) -> None:
    ours, theirs = (result(suite, name, budget="standard") for name in (learner, floor))
    assert mean_ci(ours.per_episode() - theirs.per_episode()).lo > 0


def test_the_table_of_the_readme_is_taken_from_the_leaderboard() -> None:
    """Every row is one of the leaderboard's, with fewer columns."""

    def cells(line: str) -> list[str]:
        return [cell.strip() for cell in line.strip().strip("|").split("|")]

    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    shown = [cells(line) for line in readme if line.startswith("| ") and "±" in line]
    board = (ROOT / "leaderboard.md").read_text(encoding="utf-8")
    section = board.partition("## glyphs-5w1s, standard")[2].partition("\n## ")[0]
    rows = [cells(line) for line in section.splitlines() if "±" in line]
    assert len(shown) == len(rows) == 10
    for one, whole in zip(shown, rows, strict=True):
        (name,) = (cell for cell in one if cell.startswith("`"))
        assert any(cell.startswith(f"[{name}]") or cell == name for cell in whole)
        assert set(one) - {name} <= set(whole)


def test_the_table_of_the_protocols_is_taken_from_the_results() -> None:
    board = leaderboard(RESULTS, budget="paper").set_index(["suite", "address"])
    rows = list(CELL.finditer((ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")))
    assert len(rows) >= 8
    for row in rows:
        found = board.loc[(row["suite"], row["row"])]
        interval = (found["ci95_low"], found["ci95_high"])
        assert row["here"] == formatting.error(found["score"], interval), row[0]
        assert np.isfinite(found["score"])
