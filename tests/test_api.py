"""metabench from Python: `metabench.run` and `metabench.evaluate`."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.running import PLUGIN
from sklearn.datasets import load_digits

import metabench
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request


class NearestCentroid(metabench.Learner):
    def adapt(self, support):
        return metabench.class_means(support)

    def predict(self, centroids, query_x):
        return -metabench.squared_distances(query_x.flatten(1), centroids)


class Guessing(metabench.Learner):
    """A learner whose answers come from torch's global generator."""

    def adapt(self, support):
        return None

    def predict(self, state, query_x):
        return torch.rand(len(query_x), self.task.way)


class Counting(NearestCentroid):
    """A learner that reports how often it was trained."""

    steps = 0

    def meta_step(self, episodes):
        self.steps += len(episodes)
        return 0.0

    def adapt(self, support):
        assert self.steps == 7
        return super().adapt(support)


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    """A working folder with a plugin, where nothing else is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METABENCH_PLUGINS", "builtin")
    (tmp_path / "my.py").write_text(PLUGIN)
    return tmp_path


class TestThreads:
    def test_runs_into_one_folder_share_the_work(self, here: Path) -> None:
        def run(_: int) -> list[Result]:
            return metabench.run("digits-5w1s", "centroid", plugins=["my.py"])

        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(run, range(2))
        assert one == other  # the second one took the result of the first
        assert [result.status for result in one] == ["ok"]

    def test_evaluations_do_not_mix_their_random_numbers(self) -> None:
        def score(_: int) -> float:
            return metabench.evaluate(Guessing, "digits-5w1s", episodes=20, seed=1).score

        alone = score(0)
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(score, range(4))) == {alone}


class TestRun:
    def test_results_are_stored_returned_and_kept(self, here: Path) -> None:
        def run() -> list[Result]:
            return metabench.run(
                "digits-5w1s", ["centroid", "curves-only"], plugins=["my.py"], seeds=1
            )

        first = run()
        assert [(r.job.algorithm, r.status) for r in first] == [
            ("centroid", "ok"),
            ("curves-only", "not_applicable"),
        ]
        suite = metabench.evaluate(NearestCentroid, "digits-5w1s")
        assert np.array_equal(first[0].per_episode(), suite.scores)
        stored = [result for _, result in Store(here / "results-smoke").read()[0]]
        assert stored == first
        assert run() == first  # created when it was first run

    def test_a_mistake_raises_before_anything_is_stored(self, here: Path) -> None:
        with pytest.raises(metabench.UsageError, match="did you mean 'protonet'"):
            metabench.run("digits-5w1s", "protonett")
        with pytest.raises(metabench.UsageError, match="unknown budget 'smoky'"):
            metabench.run("digits-5w1s", "chance", budget="smoky")
        assert [p.name for p in here.iterdir()] == ["my.py"]

    @pytest.mark.parametrize("one", [str, Path, lambda file: [Path(file)]])
    def test_plugins_are_texts_or_paths_or_one_of_them(self, here: Path, one) -> None:
        algorithm = ["centroi"]
        with pytest.raises(metabench.UsageError, match="did you mean 'centroid'"):
            metabench.run(
                "digits-5w1s", algorithm, plugins=one("my.py"), device=torch.device("cpu")
            )

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"suites": None}, "suites=None: write a list"),
            ({"algorithms": [NearestCentroid]}, "algorithms=.*: write a list"),
            (
                {"algorithms": [metabench.Suite("s", "m:data", way=5, shot=1)]},
                "algorithms=.*: write a",
            ),
            ({"budget": None}, "budget=None: write a string"),
            ({"results": None}, "results=None: write a string"),
            ({"seeds": torch.zeros(2, 2)}, "seeds=.*: write a whole number"),
        ],
    )
    def test_a_value_of_another_type_is_an_error_of_one_line(
        self, here: Path, options, error: str
    ) -> None:
        with pytest.raises(metabench.UsageError, match=error) as caught:
            metabench.run(**{"suites": "digits-5w1s", "algorithms": "chance", **options})
        assert "\n" not in str(caught.value)

    def test_a_plugin_that_fails_is_a_warning(self, here: Path, caplog) -> None:
        (here / "broken.py").write_text("import no_such_module_anywhere\n")
        plugins = ["my.py", "broken.py"]
        (result,) = metabench.run("digits-5w1s", "curves-only", plugins=plugins)
        assert result.status == "not_applicable"
        assert "plugin 'broken.py' failed: ModuleNotFoundError" in caplog.text

    @pytest.mark.slow
    def test_a_file_edited_during_a_run_is_run_and_recorded_as_edited(self, here) -> None:
        request = Request(suites=["digits-5w1s"], algorithms=["centroid"], plugins=["my.py"])
        with PreparedRun(request) as prepared:
            (here / "my.py").write_text(PLUGIN.replace("return -torch.cdist", "return torch.cdist"))
            (result,) = prepared.run()
            assert result.job.code != prepared.cells[0].code.digest
        assert result.per_episode().mean() < 0.2  # wrong sign
        with PreparedRun(request) as prepared:
            assert prepared.planned[0].state == "done"
            assert result.job.code == prepared.cells[0].code.digest

    def test_results_that_cannot_be_written_are_an_error(self, here: Path) -> None:
        with pytest.raises(metabench.DataError, match=r"cannot write .*my\.py"):
            metabench.run("digits-5w1s", "chance", results=here / "my.py" / "results")


class TestEvaluate:
    def test_a_class_a_function_and_a_learner_score_the_same(self) -> None:
        task = metabench.TaskSpec((1, 8, 8), way=5, shot=1)
        given = (NearestCentroid, lambda task: NearestCentroid(task), NearestCentroid(task))
        found = [metabench.evaluate(one, "digits-5w1s") for one in given]
        for evaluation in found:
            assert evaluation.episodes == len(evaluation.scores) == 100
            assert evaluation.score == pytest.approx(evaluation.scores.mean())
            assert evaluation.ci95[0] < evaluation.score < evaluation.ci95[1]
            assert evaluation.score == found[0].score
            assert np.array_equal(evaluation.scores, found[0].scores)
        assert found[0].score > 0.6
        assert 0.5 < found[0].macro_f1 < found[0].score

    def test_it_is_printed_in_one_line(self) -> None:
        evaluation = metabench.evaluate(NearestCentroid, "digits-5w1s", episodes=10)
        half = (evaluation.ci95[1] - evaluation.ci95[0]) / 2
        assert str(evaluation) == (
            f"digits-5w1s: {100 * evaluation.score:.2f}% ± {100 * half:.2f}% (10 episodes)"
        )

    def test_outputs_that_are_not_finite_are_counted_and_said(self) -> None:
        class NoVotes(NearestCentroid):
            def predict(self, state, query_x):
                logits = super().predict(state, query_x)
                return torch.where(logits < logits.max(), -torch.inf, logits)

        with pytest.warns(UserWarning, match="outputs of the learner are NaN or infinite"):
            evaluation = metabench.evaluate(NoVotes, "digits-5w1s", episodes=2)
        assert evaluation.nonfinite > 0
        assert str(evaluation).endswith(f"(2 episodes, {evaluation.nonfinite} outputs not finite)")

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_a_learner_has_gradients_in_every_mode_of_the_caller(self, mode) -> None:
        class Trains(Counting):
            def meta_step(self, episodes):
                weight = torch.ones(1, requires_grad=True)
                (weight * episodes.support.x.sum()).sum().backward()
                assert weight.grad is not None
                return super().meta_step(episodes)

        with mode():
            metabench.evaluate(Trains, "digits-5w1s", budget="tasks=7", episodes=2)
            assert not torch.is_grad_enabled()

    @pytest.mark.parametrize("given", ["class", "learner"])
    def test_defaults_of_the_caller_do_not_change_the_score(self, given: str) -> None:
        class Linear(metabench.Learner):
            def adapt(self, support):
                return metabench.class_means(support)

            def predict(self, centroids, query_x):
                x = query_x.flatten(1)
                weight = torch.linspace(0, 1, x.shape[1])
                assert (weight.dtype, weight.device.type) == (torch.float32, "cpu")
                outputs = (x * weight) @ centroids.flatten(1).T
                assert outputs.dtype == torch.float32  # not that of autocast
                return outputs

        learner = Linear
        if given == "learner":
            learner = Linear(metabench.TaskSpec((1, 8, 8), way=5, shot=1))

        def scores():
            return metabench.evaluate(learner, "digits-5w1s", episodes=2).scores

        expected = scores()
        with torch.autocast("cpu", torch.bfloat16):
            assert np.array_equal(scores(), expected)
            assert torch.is_autocast_enabled("cpu")
        with torch.device("meta"):
            assert np.array_equal(scores(), expected)
            assert torch.empty(1).device.type == "meta"
        torch.set_default_dtype(torch.float64)
        try:
            assert np.array_equal(scores(), expected)
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)

    def test_numbers_of_numpy_and_torch_are_taken_as_plain_ones(self) -> None:
        def scores(**options):
            return metabench.evaluate(Guessing, "digits-5w1s", **options).scores

        expected = scores(seed=3, episodes=2)
        for number in (np.int64, torch.tensor):
            assert np.array_equal(scores(seed=number(3), episodes=number(2)), expected)
        device = torch.device("cpu")
        assert np.array_equal(scores(seed=3, episodes=2, device=device), expected)

    def test_the_random_numbers_of_the_caller_go_on(self) -> None:
        def draw(evaluating: bool) -> list[float]:
            random.seed(3), np.random.seed(3), torch.manual_seed(3)
            if evaluating:
                metabench.evaluate(Counting, "digits-5w1s", budget="tasks=7", episodes=2)
            return [random.random(), np.random.rand(), torch.rand(1).item()]

        assert draw(evaluating=True) == draw(evaluating=False)

    def test_the_first_episodes_are_the_same_however_many_are_scored(self) -> None:
        few, more = (
            metabench.evaluate(NearestCentroid, "digits-5w1s", episodes=n).scores for n in (3, 30)
        )
        assert np.array_equal(few, more[:3])

    def test_a_class_is_meta_trained_and_a_learner_is_taken_as_it_is(self) -> None:
        metabench.evaluate(Counting, "digits-5w1s", budget="tasks=7", episodes=2)
        learner = Counting(metabench.TaskSpec((1, 8, 8), way=5, shot=1))
        learner.steps = 7
        metabench.evaluate(learner, "digits-5w1s", budget="tasks=9", episodes=2)
        assert learner.steps == 7

    def test_arrays_of_ones_own(self, tmp_path: Path) -> None:
        digits = load_digits()
        suite = metabench.Suite.from_arrays(
            digits.images / 16, digits.target, way=2, shot=1, data_root=tmp_path
        )
        evaluation = metabench.evaluate(NearestCentroid, suite, episodes=20)
        assert evaluation.suite == suite.name
        assert 0.8 < evaluation.score < 1

    @pytest.mark.parametrize("batched", [False, True])
    def test_outputs_of_a_wrong_shape_are_an_error_with_the_right_one(self, batched: bool) -> None:
        class Wrong(metabench.BatchedLearner if batched else metabench.Learner):
            def adapt(self, support):
                return None

            def predict(self, state, query_x):
                return torch.zeros(*query_x.shape[:-3], 4)

        with pytest.raises(metabench.UsageError, match=r"shape \[75, 4\].*expected \[75, 5\]"):
            metabench.evaluate(Wrong, "digits-5w1s")

    @pytest.mark.parametrize(
        ("learner", "options", "error"),
        [
            ("protonet", {}, "learner 'protonet': pass a Learner class, .* metabench.run"),
            (NearestCentroid, {"suite": "digit-5w1s"}, "did you mean 'digits-5w1s'"),
            (NearestCentroid, {"suite": "digits-5w*"}, "name one suite"),
            (NearestCentroid, {"episodes": 0}, "episodes=0: must be at least 1"),
            *(
                (NearestCentroid, {name: value}, f"{name}=.*: write a whole number")
                for name in ("seed", "episodes")
                for value in (3.0, "3", True, np.True_, torch.tensor(3.0), torch.zeros(2, 2))
            ),
            (NearestCentroid, {"seed": None}, "seed=None: write a whole number"),
            (NearestCentroid, {"seed": -1}, "seed=-1: must be at least 0"),
            (NearestCentroid, {"seed": 2**64}, "must be at most 9007199254740992"),
            (NearestCentroid, {"suite": None}, "suite=None: pass a name or a Suite"),
            (NearestCentroid, {"budget": None}, "budget=None: write a string"),
            (NearestCentroid, {"budget": "smoky"}, "unknown budget 'smoky'"),
            (NearestCentroid, {"device": "abacus"}, "device 'abacus' is not available here"),
            (
                NearestCentroid(metabench.TaskSpec((1, 8, 8), way=3, shot=1)),
                {},
                "the learner is for 3 classes, digits-5w1s has 5",
            ),
            (
                lambda task: "no learner",
                {},
                "build returned 'no learner', which is not a metabench.Learner",
            ),
            (
                type("Bare", (NearestCentroid,), {"__init__": lambda self, task: None}),
                {},
                r"Bare has no task: call super\(\).__init__\(task\)",
            ),
        ],
    )
    def test_a_mistake_is_an_error_of_one_line(self, learner, options, error: str) -> None:
        with pytest.raises(metabench.UsageError, match=error) as caught:
            metabench.evaluate(learner, **{"suite": "digits-5w1s", **options})
        assert "\n" not in str(caught.value)

    def test_nothing_is_stored(self, here: Path) -> None:
        metabench.evaluate(NearestCentroid, "digits-5w1s", episodes=1)
        assert [p.name for p in here.iterdir()] == ["my.py"]


def test_a_single_episode_has_no_interval() -> None:
    shown = str(metabench.evaluate(NearestCentroid, "digits-5w1s", episodes=1))
    assert "nan" not in shown
    assert shown.endswith("% (1 episodes)")
