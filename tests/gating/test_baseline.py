"""The selection and grouping of a baseline's results."""

from __future__ import annotations

from pathlib import Path

import pytest
from results_factory import make_result, make_suite, store_results

from metabench.errors import NothingToRun
from metabench.gating.baseline import grouped, select
from metabench.plugins.registry import load_plugins


def test_copies_of_a_result_are_not_further_seeds() -> None:
    older = make_result(seed=0, accuracy=0.5, created="2025-01-01T00:00:00Z")
    results = [make_result(seed=1), make_result(seed=0), older]
    stored = [(Path(f"{number}.json"), result) for number, result in enumerate(results)]
    assert grouped([*stored, (Path("copy.json"), results[0])]) == [
        [stored[1], (Path("copy.json"), results[0])]
    ]


def test_suites_budgets_and_devices_are_cases_of_their_own() -> None:
    results = [
        make_result(),
        make_result(budget="paper"),
        make_result(device="cuda"),
        make_result(suite=make_suite("glyphs-5w1s")),
        make_result(suite=make_suite(train_on="glyphs-5w1s")),
    ]
    stored = [(Path(f"{number}.json"), result) for number, result in enumerate(results)]
    assert [len(case) for case in grouped(stored)] == [1] * 5


def test_names_that_the_baseline_lacks_are_reported(tmp_path: Path) -> None:
    store_results(tmp_path, [make_result("good"), make_result("bad")])
    scored, without = select(tmp_path, ["digits-5w1s"], ["good"], load_plugins())
    assert [result.job.algorithm for _, result in scored] == ["good"]
    assert without == []
    with pytest.raises(NothingToRun, match=r"nothing in baseline '.*' for -s omniglot-\* -a goood"):
        select(tmp_path, ["digits-5w1s", "omniglot-*"], ["good", "goood"], load_plugins())
