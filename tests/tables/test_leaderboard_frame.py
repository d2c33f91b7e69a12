"""`metabench.leaderboard` returns the tables of a folder, or of results, as one data frame."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
from results_factory import make_result, make_suite, store_results

import metabench


@pytest.fixture
def results():
    glyphs = make_suite("glyphs-5w1s")
    return [
        *[make_result("protonet", seed=seed) for seed in range(2)],
        make_result("maml", accuracy=0.5),
        make_result("maml", accuracy=0.5, budget="standard"),
        make_result("protonet", suite=glyphs),
        make_result("broken", suite=glyphs, status="crashed", reason="signal 11"),
    ]


def test_a_folder_and_its_results_give_the_same_except_for_files(results, tmp_path):
    paths = store_results(tmp_path, results)
    by_folder = metabench.leaderboard(tmp_path)
    by_results = metabench.leaderboard(results)
    pd.testing.assert_frame_equal(by_folder.drop(columns="files"), by_results.drop(columns="files"))
    files = [file for text in by_folder["files"] for file in text.split("; ")]
    assert sorted(files) == sorted(path.as_posix() for path in paths)
    assert set(by_results["files"]) == {""}


def test_rows_are_in_the_order_of_their_tables(results):
    frame = metabench.leaderboard(results)
    found = frame[["suite", "budget", "rank", "algorithm"]].astype(object)
    assert found.where(found.notna(), None).values.tolist() == [
        ["digits-5w1s", "smoke", 1, "protonet"],
        ["digits-5w1s", "smoke", 2, "maml"],
        ["digits-5w1s", "standard", 1, "maml"],
        ["glyphs-5w1s", "smoke", 1, "protonet"],
        ["glyphs-5w1s", "smoke", None, "broken"],
    ]


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({"suite": "glyphs-5w1s"}, 2),
        ({"suite": "digits-*"}, 3),
        ({"suite": ["digits-*", "glyphs-*"]}, 5),
        ({"budget": "standard"}, 1),
        ({"suite": "digits-*", "budget": "smoke"}, 2),
        ({"suite": "omniglot-*"}, 0),
    ],
)
def test_suites_and_budgets_can_be_chosen(results, filters, rows):
    assert len(metabench.leaderboard(results, **filters)) == rows


def test_a_damaged_file_is_named_and_the_rest_is_shown(results, tmp_path):
    damaged, *_ = store_results(tmp_path, results)
    (tmp_path / damaged).write_text('{"schema": 1, "sta')
    with pytest.warns(UserWarning, match=damaged.name):
        frame = metabench.leaderboard(tmp_path)
    assert frame.loc[0, "seeds"] == 1


def test_a_folder_that_does_not_exist_has_no_rows(tmp_path):
    assert metabench.leaderboard(tmp_path / "nowhere").empty


def test_a_leaderboard_needs_no_torch(results, tmp_path):
    store_results(tmp_path, results)
    code = (
        "import sys, metabench; frame = metabench.leaderboard(sys.argv[1]);"
        "assert len(frame) == 5; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
