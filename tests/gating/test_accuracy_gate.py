"""The fixture `accuracy_gate` in a user's own tests, run by pytest in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.running import results

PLUGIN = """
import torch

import metabench


class Centroid(metabench.Learner):
    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -torch.cdist(query_x.flatten(1), centroids)


@metabench.hookimpl
def metabench_algorithms():
    yield metabench.Algorithm("mine", build=Centroid, deterministic=True)
"""

TEST = """
from pathlib import Path

PLUGIN = Path(__file__).with_name("mine.py")


def test_my_algorithm(accuracy_gate):
    accuracy_gate("mine", suite="digits-5w1s", plugins=[PLUGIN])
"""

BROKEN = (
    PLUGIN
    + """
    yield metabench.Algorithm("broken", build=Broken)


class Broken(Centroid):
    def adapt(self, support):
        raise RuntimeError("cannot adapt")
"""
)

WORSE = PLUGIN.replace("query_x.flatten(1)", "query_x.flatten(1).roll(1)")


@pytest.fixture
def user(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin")
    pytester.path.joinpath("mine.py").write_text(PLUGIN)
    pytester.makepyfile(test_mine=TEST)
    return pytester


def run(user: pytest.Pytester, *args: str) -> pytest.RunResult:
    return user.runpytest_subprocess("-p", "no:cacheprovider", *args)


@pytest.mark.slow
def test_a_baseline_is_made_and_then_tested_against(user: pytest.Pytester) -> None:
    missing = run(user)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(
        ["accuracy_gate: * has no baseline for mine on digits-5w1s *pytest --update-baselines"]
    )
    run(user, "--update-baselines").assert_outcomes(passed=1)
    folder = user.path / "accuracy-baselines"
    (name,) = results(folder)
    assert name == "digits-5w1s/mine/default-s0-smoke-cpu.json"
    assert [p.name for p in folder.iterdir()] == ["digits-5w1s"]  # no log, no lock
    assert len(results(folder)[name].blocks) == 2
    run(user).assert_outcomes(passed=1)
    # Unchanged files are left alone, so that version control shows only changes.
    before = (folder / name).stat().st_mtime_ns
    run(user, "--update-baselines").assert_outcomes(passed=1)
    assert (folder / name).stat().st_mtime_ns == before

    (user.path / "mine.py").write_text(WORSE)
    worse = run(user)
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(
        [
            "fail: digits-5w1s mine: worse than the margin allows",
            "*difference -*points, 96.67% interval *",
            "*differs: code *",
            "*episodes that differ most: *",
        ]
    )
    assert "Traceback" not in worse.stdout.str()
    assert "accuracy.py" not in worse.stdout.str()
    run(user, "--update-baselines").assert_outcomes(passed=1)
    run(user).assert_outcomes(passed=1)


@pytest.mark.slow
def test_it_works_under_xdist_with_tests_that_share_a_folder(user: pytest.Pytester) -> None:
    user.makepyfile(
        test_many="""
        import pytest

        @pytest.mark.parametrize("suite", ["digits-5w1s", "digits-5w5s"])
        @pytest.mark.parametrize("algorithm", ["pixel-1nn", "chance", "protonet[lr=0.01]"])
        def test_it(accuracy_gate, algorithm, suite):
            found = accuracy_gate(algorithm, suite, seeds=1, margin=0.005)
            assert found is None or found.equal
        """
    )
    run(user, "-n", "2", "--update-baselines", "test_many.py").assert_outcomes(passed=6)
    run(user, "-n", "2", "test_many.py").assert_outcomes(passed=6)


@pytest.mark.slow
def test_the_folder_can_be_chosen(user: pytest.Pytester) -> None:
    user.makeini("[pytest]\naccuracy_baselines = data/accuracy")
    run(user, "--update-baselines").assert_outcomes(passed=1)
    assert len(results(user.path / "data" / "accuracy")) == 1
    assert not Path(user.path / "accuracy-baselines").exists()
    run(user).assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('"minne", suite="digits-5w1s", plugins=[PLUGIN]', "unknown algorithm 'minne'*'mine'?"),
        ('"mine", suite="digits-5w9s", plugins=[PLUGIN]', "unknown suite 'digits-5w9s'*"),
        ('"*", suite="digits-5w1s"', "* on digits-5w1s names * cases: name one algorithm*"),
        ('"broken", suite="digits-5w1s", plugins=[PLUGIN]', "no baseline for *cannot adapt"),
    ],
)
def test_mistakes_are_one_line(user: pytest.Pytester, call: str, said: str) -> None:
    (user.path / "mine.py").write_text(BROKEN)
    user.makepyfile(test_mine=TEST.replace('"mine", suite="digits-5w1s", plugins=[PLUGIN]', call))
    outcome = run(user, "--update-baselines")
    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines([f"accuracy_gate: {said}"])


def test_importing_the_plugin_imports_neither_torch_nor_numpy(user: pytest.Pytester) -> None:
    user.makepyfile(
        test_light="""
        import sys

        def test_it():
            assert "metabench.gating.pytest_plugin" in sys.modules
            assert not {"torch", "numpy", "metabench.api"} & set(sys.modules)
        """
    )
    run(user, "test_light.py").assert_outcomes(passed=1)


@pytest.mark.slow
def test_a_baseline_has_the_seeds_and_blocks_that_the_test_asks_for(
    user: pytest.Pytester,
) -> None:
    def test(**options: int) -> None:
        given = "".join(f", {key}={value}" for key, value in options.items())
        user.makepyfile(
            test_mine=f"""
            def test_it(accuracy_gate):
                accuracy_gate("chance", "digits-5w1s"{given})
            """
        )

    test(seeds=3, blocks=1)
    run(user, "--update-baselines").assert_outcomes(passed=1)
    test(seeds=2, blocks=1)
    run(user).stdout.fnmatch_lines(["accuracy_gate: the baseline has 3 seeds, *asks for 2*"])
    test(seeds=3, blocks=2)
    run(user).stdout.fnmatch_lines(["accuracy_gate: the baseline has 1 blocks, *asks for 2*"])
    test(seeds=2, blocks=1)
    run(user, "--update-baselines").assert_outcomes(passed=1)
    assert len(results(user.path / "accuracy-baselines")) == 2  # the third seed is gone
    run(user).assert_outcomes(passed=1)
