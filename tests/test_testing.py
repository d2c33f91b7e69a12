"""`parametrize_with_checks` in the tests of a user."""

from __future__ import annotations

import pytest

from metabench.checks.check_names import CHECKS

PLUGIN = """
import torch

import metabench


class Mine(metabench.Learner):
    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -torch.cdist(query_x.flatten(1), centroids)


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("mine", build=Mine)
"""

TEST = """
import sys

import metabench.testing

assert "torch" not in sys.modules


@metabench.testing.parametrize_with_checks(["mine"], plugins=["mine.py"])
def test_conformance(check):
    check()
"""


@pytest.fixture
def user(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin")
    pytester.path.joinpath("mine.py").write_text(PLUGIN)
    pytester.makepyfile(test_mine=TEST)
    return pytester


def run(user: pytest.Pytester, *args: str) -> pytest.RunResult:
    return user.runpytest_subprocess("-p", "no:cacheprovider", "-rs", "-v", *args)


@pytest.mark.slow
def test_every_check_is_a_test(user: pytest.Pytester) -> None:
    found = run(user)
    counts = found.parseoutcomes()
    assert "failed" not in counts
    assert counts["passed"] + counts["skipped"] == 2 * len(CHECKS)
    found.stdout.fnmatch_lines(["*test_conformance?mine-classification-one-query? PASSED*"])
    found.stdout.fnmatch_lines(["*it does not support regression"])


@pytest.mark.slow
def test_a_failure_shows_the_problem_and_the_file(user: pytest.Pytester) -> None:
    worse = PLUGIN.replace("query_x.flatten(1)", "(query_x - query_x.mean(0)).flatten(1)")
    user.path.joinpath("mine.py").write_text(worse)
    found = run(user)
    assert found.parseoutcomes()["failed"] >= 1
    found.stdout.fnmatch_lines(
        ["*mine (*mine.py): the answer to a query depends on the others (transductive)*", "do: *"]
    )


@pytest.mark.slow
def test_a_plugin_is_first_looked_up_in_the_folder_of_the_test(user: pytest.Pytester) -> None:
    folder = user.mkdir("tests")
    (user.path / "mine.py").rename(folder / "mine.py")
    (user.path / "mine.py").write_text("raise ValueError")  # the one in the working folder
    (folder / "test_list.py").write_text(TEST)
    (folder / "test_name.py").write_text(
        TEST.replace('["mine.py"]', '"mine.py"').replace('assert "torch"', '"torch"')
    )
    run(user, "tests", "-k", "classification-catalogue").assert_outcomes(passed=2)


def test_mistakes_are_one_line(user: pytest.Pytester) -> None:
    without_import = TEST.replace('assert "torch"', '"torch"')  # by another of these files
    user.makepyfile(
        test_mine="",
        test_file=without_import.replace("mine.py", "mein.py"),
        test_name=without_import.replace('"mine"]', '"mein"]'),
    )
    found = run(user, "-k", "classification-catalogue", "--no-header", "-p", "no:warnings")
    found.assert_outcomes(failed=2)
    found.stdout.fnmatch_lines(
        [
            "parametrize_with_checks: *mein.py: no such file",
            "parametrize_with_checks: unknown algorithm 'mein': did you mean 'mine'?",
        ]
    )
    assert "metabench/testing.py" not in found.stdout.str()
