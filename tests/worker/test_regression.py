"""Suites of functions through the whole of a cell: training, validation, scores."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import metabench
from metabench import Algorithm, DataError, Episodes, Learner, Support, UsageError
from metabench.cell import commands
from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, configure
from metabench.cell.messages import TrainingPlan
from metabench.cell.training_shape import training_shape
from metabench.learner import TaskSpec, TrainingEpisodes
from metabench.results.schema import Training
from metabench.suites.builtin_suites import SUITES
from metabench.suites.suite import Suite
from metabench.suites.training_data import TrainingData
from metabench.supervisor.prepared_run import check_unseen
from metabench.supervisor.suite_cache import SuiteCache
from metabench.worker.base_data import Base, Meter
from metabench.worker.meta_training import meta_train

SINUSOID = next(s for s in SUITES if s.name == "sinusoid-5s")


@pytest.fixture(scope="module")
def material() -> TrainingData:
    found = SINUSOID.open().material
    assert found is not None
    return found


def plan(updates: int = 20) -> TrainingPlan:
    return TrainingPlan(
        training=Training(way=1, shot=5, query=10, tasks_per_step=4),
        why_not="",
        updates=updates,
        tasks=None,
        seconds=None,
        training_seed=0,
        images_per_task=105,
        validation_episodes=30,
        validation_shape=(1, 5, 100),
    )


class Mean(Learner):
    """Predicts the mean of the support set's values, off by `shift`."""

    shift = 0.0

    def adapt(self, support: Support) -> Tensor:
        assert support.y.shape == (5, 1)
        assert support.y.dtype == torch.float32
        return support.y.mean() + self.shift

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return state.expand(len(query_x), 1)


def test_scores_are_mean_squared_errors_of_episodes() -> None:
    opened = SINUSOID.open()
    m, targets = opened.episodes, opened.dataset.targets
    assert targets is not None
    support, query = targets[m.support[:50]], targets[m.query[:50]].astype(np.float64)
    expected = ((query - support.mean(axis=1, keepdims=True)) ** 2).mean(axis=(1, 2))
    evaluation = metabench.evaluate(Mean, SINUSOID, episodes=50)
    assert np.allclose(evaluation.scores, expected, rtol=1e-5)
    assert evaluation.score == pytest.approx(expected.mean(), rel=1e-5)
    assert evaluation.macro_f1 is None
    assert str(evaluation).startswith("sinusoid-5s: MSE ")


def test_chance_scores_the_mean_square_of_the_targets() -> None:
    from metabench_plugins.floors import Chance

    opened = SINUSOID.open()
    assert opened.dataset.targets is not None
    squares = opened.dataset.targets[opened.episodes.query[:100]].astype(np.float64) ** 2
    evaluation = metabench.evaluate(Chance, SINUSOID)
    assert evaluation.score == pytest.approx(squares.mean(), rel=1e-6)


def test_outputs_that_are_not_finite_have_no_score() -> None:
    class Diverged(Mean):
        shift = float("inf")

    with pytest.raises(UsageError, match="outputs in episode 0 are not finite"):
        metabench.evaluate(Diverged, SINUSOID, episodes=10)


def test_an_episode_is_one_function_with_points_apart() -> None:
    opened = SINUSOID.open()
    m, labels = opened.episodes, opened.dataset.labels
    both = np.hstack([m.support, m.query])
    assert m.query.shape == (1000, 100)
    assert (labels[both] == m.classes).all()
    assert (np.diff(np.sort(both, axis=1), axis=1) > 0).all()
    assert np.isin(m.classes, opened.dataset.split("novel")).all()


class Recording(Mean):
    """Its error on validation is smallest after 8 updates."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.update = torch.zeros(())
        self.seen: list[Episodes] = []

    def meta_step(self, episodes: Episodes) -> float:
        self.update += 1
        self.seen.append(episodes)
        return 0.0

    def adapt(self, support: Support) -> Tensor:
        return super().adapt(support) + (self.update - 8).abs() * 10


def recorded(material: TrainingData) -> tuple[Recording, Any]:
    learner = Recording(TaskSpec((1,), way=1, shot=5, kind="regression"))
    return learner, meta_train(learner, material, plan(), lambda fraction, values: None)


def test_training_episodes_hold_values(material: TrainingData) -> None:
    learner, _ = recorded(material)
    episodes = learner.seen[0]
    assert (episodes.way, len(episodes)) == (1, 4)
    assert episodes.support.x.shape == episodes.support.y.shape == (4, 5, 1)
    assert episodes.query.x.shape == episodes.query.y.shape == (4, 10, 1)
    assert material.targets is not None
    for x, y in zip(episodes.query.x.flatten(), episodes.query.y.flatten(), strict=True):
        assert (material.targets[material.images == x.item()] == y.item()).any()


def test_the_smallest_validation_error_is_selected(material: TrainingData) -> None:
    learner, trained = recorded(material)
    assert (trained.selected, trained.selected_update) == ("best", 8)
    assert float(learner.update) == 8
    errors = [point.values["validation"] for point in trained.curve]
    assert min(errors) == errors[3] == trained.best_validation


def test_base_data_pools_the_points_of_all_base_functions(material: TrainingData) -> None:
    base = Base(material, Meter(plan(), lambda fraction, values: None), "cpu")
    assert base.x.shape == base.y.shape == (20_000 * 128, 1)
    assert base.y.dtype == torch.float32
    train, held_out = base.split(64)
    assert len(held_out.y) == 20_000 * 2
    assert len(train.y) + len(held_out.y) == len(base.y)
    x, y = next(iter(train.batches(32)))
    assert x.shape == y.shape == (32, 1)


def test_material_survives_its_file(material: TrainingData, tmp_path: Any) -> None:
    material.save(tmp_path)
    again = TrainingData.load(tmp_path)
    assert again.digest == material.digest
    assert material.targets is not None
    assert np.array_equal(again.targets, material.targets)  # type: ignore[arg-type]


def test_metric_and_dataset_have_to_go_together() -> None:
    wrong = Suite("wrong", SINUSOID.dataset, way=5, shot=1)
    with pytest.raises(UsageError, match="'accuracy' does not fit dataset sinusoid"):
        wrong.open()
    digits = Suite("wrong", "metabench.data.digits:load", way=1, shot=1, metric="mse")
    with pytest.raises(UsageError, match="'mse' does not fit dataset digits"):
        digits.open()
    with pytest.raises(UsageError, match="way=5, regression has way=1"):
        Suite("wrong", SINUSOID.dataset, way=5, shot=1, metric="mse")


def test_no_function_comes_twice_in_the_blocks_that_the_gate_may_ask_for() -> None:
    opened = SINUSOID.open()
    drawn = np.concatenate([opened.manifest(block).classes for block in range(5)])
    assert len(np.unique(drawn)) == drawn.size == 5000
    training = opened.material.training(0, 0, 20_000, 1, 5, 10)  # type: ignore[union-attr]
    assert len(np.unique(training.classes)) == 20_000
    other = opened.material.training(1, 0, 20_000, 1, 5, 10)  # type: ignore[union-attr]
    assert not np.array_equal(training.classes, other.classes)


def test_held_out_points_do_not_count_as_trained_on(material: TrainingData) -> None:
    meter = Meter(plan(), lambda fraction, values: None)
    train, held_out = Base(material, meter, "cpu").split(100)
    next(train.batches(25))
    assert len(held_out.x) == 20_000
    assert (meter.images, meter.tasks) == (25, 1)


def test_training_on_the_test_functions_is_refused() -> None:
    dataset = SINUSOID.open().dataset
    swapped = dataclasses.replace(
        dataset, splits={"base": dataset.split("novel"), "novel": dataset.split("base")}
    )
    other = Suite("swapped", swapped, way=1, shot=5, metric="mse")
    library = SuiteCache(None)
    with pytest.raises(DataError, match=r"105\d\d\d of .* test points of sinusoid-5s.*swapped"):
        check_unseen(other, SINUSOID, library)
    check_unseen(SUITES[-1], SINUSOID, library)  # sinusoid-freq
    library.close()


def test_a_task_has_the_points_that_learners_train_with() -> None:
    opened = SINUSOID.open()
    cell = cell_for(Algorithm("any", build=""))
    assert opened.material is not None
    assert commands.plan(cell, opened.material).images_per_task == 5 + 15


def test_targets_have_to_be_a_column() -> None:
    dataset = SINUSOID.open().dataset
    assert dataset.targets is not None
    with pytest.raises(DataError, match=r"targets are float32 \[\d+\], write float32 \[\d+, 1\]"):
        dataclasses.replace(dataset, targets=dataset.targets[:, 0])


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match=r"metric of suite wrong 'mae'.*did you mean 'mse'"):
        Suite("wrong", SINUSOID.dataset, way=1, shot=5, metric="mae")  # type: ignore[arg-type]


def test_a_suite_with_more_episodes_than_functions_is_refused() -> None:
    """Two episodes on one function would count as two."""
    few = dataclasses.replace(SINUSOID, episodes=6000)
    with pytest.raises(DataError, match=r"6,000 episodes .* there are 5,000 \(1,000 missing\)"):
        few.open()
    opened = SINUSOID.open()
    with pytest.raises(DataError, match=r"6,000 episodes need as many functions"):
        opened.manifest(5)


def test_every_pass_over_the_functions_has_its_own_order(material: TrainingData) -> None:
    count = len(material.base.classes)
    first, second = (material.training(0, k * count, count, 1, 5, 10).classes for k in (0, 1))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first[:, 0]), np.sort(second[:, 0]))
    across = material.training(0, count - 3, 6, 1, 5, 10).classes
    assert np.array_equal(across, np.concatenate([first[-3:], second[:3]]))


def cell_for(algorithm: Algorithm) -> Cell:
    return Cell(SINUSOID, configure(algorithm, {}, ""), seed=0, budget=Budget.parse("tasks=8"))


def test_a_way_that_an_algorithm_suggests_gives_way_to_one_function(material: TrainingData) -> None:
    suggests = Algorithm(
        "any", build="", training=TrainingEpisodes(way=10), tasks={"classification", "regression"}
    )
    assert training_shape(cell_for(suggests), material).way == 1


@pytest.mark.slow
def test_cells_of_functions_run_in_processes_of_their_own(tmp_path: Any) -> None:
    (tmp_path / "diverges.py").write_text(
        "import torch, metabench\n"
        "class Diverges(metabench.Learner):\n"
        "    def adapt(self, support):\n"
        "        return None\n"
        "    def predict(self, state, query_x):\n"
        "        return query_x / 0\n"
        "@metabench.hookimpl\n"
        "def metabench_algorithms():\n"
        "    yield metabench.Algorithm('diverges', build=Diverges, tasks={'regression'})\n"
    )
    results = metabench.run(
        "sinusoid-5s",
        ["maml", "pretrained", "protonet", "diverges"],
        budget="tasks=8",
        results=tmp_path / "results",
        plugins=[str(tmp_path / "diverges.py")],
    )
    maml, pretrained, protonet, diverges = results
    for result in (maml, pretrained):
        assert result.status == "ok"
        assert result.scores is not None
        assert len(result.scores.error or []) == 1000
        assert str(result.job.params["backbone"]).startswith("mlp")
    assert maml.training is not None
    assert (maml.training.updates, maml.training.tasks, maml.training.images) == (2, 8, 8 * 15)
    assert pretrained.training is not None
    assert pretrained.training.tasks <= 8 + 250 // 20
    assert protonet.status == "not_applicable"
    assert diverges.status == "error"
    assert diverges.failure is not None
    assert "outputs in episode 0 are not finite" in diverges.failure.reason
