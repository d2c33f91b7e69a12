from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from training_materials import digits_material, open_digits, plan, task

from metabench import BaseData, Episodes, Learner, Support, TaskSpec, UsageError, class_means
from metabench.suites.protocol import BySplit
from metabench.suites.training_data import TrainingData
from metabench.worker.meta_training import meta_train


def silent(fraction: float, values: dict[str, float | None]) -> None: ...


def material_with_validation() -> TrainingData:
    """Digits with five base, three validation and two novel classes."""
    dataset = dataclasses.replace(
        open_digits().dataset,
        splits={
            "base": np.arange(5),
            "validation": np.array([5, 6, 7]),
            "novel": np.array([8, 9]),
        },
    )
    return TrainingData.of(dataset, "test", BySplit().pools(dataset))


class Counting(Learner):
    """Remembers what it was trained on; its quality is set by its update count."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.seen: list[Episodes] = []
        self.update = torch.zeros(())

    def meta_step(self, episodes: Episodes) -> float:
        self.seen.append(episodes)
        self.update += 1
        return float(self.update)

    def adapt(self, support: Support) -> Any:
        return class_means(support)

    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor:
        logits = -torch.cdist(query_x.flatten(1), state)
        # Best after 6 updates: noise grows with the distance from there.
        noise = torch.rand(logits.shape, generator=self.task.generator())
        return logits + noise * 20 * abs(float(self.update) - 6)


def test_updates_tasks_and_images_are_counted() -> None:
    learner = Counting(task())
    trained = meta_train(learner, digits_material(), plan(updates=20), silent)
    assert (trained.updates, trained.tasks, trained.images) == (20, 40, 40 * 3 * 5)
    assert len(learner.seen) == 20
    assert trained.seconds > 0


def test_episodes_are_those_of_the_stream() -> None:
    material = digits_material()
    learner = Counting(task())
    meta_train(learner, material, plan(updates=40, seed=3), silent)
    drawn = material.training(3, 0, 80, 3, 1, 4)
    expected = torch.from_numpy(material.images[drawn.query]).float() / 255
    got = torch.cat([episodes.query.x for episodes in learner.seen])
    assert torch.equal(got, expected)
    labels = torch.cat([episodes.support.y for episodes in learner.seen])
    assert torch.equal(labels, torch.from_numpy(drawn.support_y.copy()))


def test_the_curve_has_ten_points_and_means_of_losses() -> None:
    trained = meta_train(Counting(task()), digits_material(), plan(updates=20), silent)
    assert [point.update for point in trained.curve] == list(range(2, 21, 2))
    assert [point.values["loss"] for point in trained.curve] == [k + 0.5 for k in range(1, 20, 2)]


def test_without_validation_the_last_state_is_kept() -> None:
    learner = Counting(task())
    trained = meta_train(learner, digits_material(), plan(updates=10), silent)
    assert (trained.selected, trained.selected_update) == ("last", 10)
    assert trained.best_validation is None
    assert learner.update == 10


def test_with_validation_the_best_state_is_put_back() -> None:
    learner = Counting(task(way=3))
    trained = meta_train(learner, material_with_validation(), plan(updates=20), silent)
    assert (trained.selected, trained.selected_update) == ("best", 6)
    assert learner.update == 6
    scores = [point.values["validation"] for point in trained.curve]
    assert max(s for s in scores if s is not None) == trained.best_validation


@pytest.mark.parametrize(("tasks", "sizes"), [(5, [2, 2, 1]), (4, [2, 2]), (1, [1])])
def test_a_budget_of_tasks_is_kept_to_the_task(tasks: int, sizes: list[int]) -> None:
    learner = Counting(task())
    budget = plan(updates=len(sizes), tasks=tasks)
    trained = meta_train(learner, digits_material(), budget, silent)
    assert [len(episodes) for episodes in learner.seen] == sizes
    assert (trained.updates, trained.tasks) == (len(sizes), tasks)


def test_validation_stays_what_it_is_whatever_a_learner_does_to_its_tensors() -> None:
    class Spoils(Counting):
        def adapt(self, support: Support) -> Any:
            state = class_means(support)
            support.y.add_(1)
            support.x.zero_()
            return state

        def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor:
            return -torch.cdist(query_x.flatten(1), state)

    learner = Spoils(task(way=3))
    trained = meta_train(learner, material_with_validation(), plan(updates=20), silent)
    scores = {point.values["validation"] for point in trained.curve}
    assert len(trained.curve) == 10
    assert len(scores) == 1


def test_a_budget_of_seconds_ends_training() -> None:
    trained = meta_train(
        Counting(task()), digits_material(), plan(updates=None, seconds=0.05), silent
    )
    assert trained.seconds >= 0.05
    assert trained.updates > 3


def test_progress_reaches_one() -> None:
    fractions: list[float] = []
    meta_train(
        Counting(task()), digits_material(), plan(), lambda fraction, _: fractions.append(fraction)
    )
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_loss_that_is_not_a_number_stays_visible() -> None:
    class Diverging(Counting):
        def meta_step(self, episodes: Episodes) -> float:
            return float("nan")

    trained = meta_train(Diverging(task()), digits_material(), plan(), silent)
    assert all(point.values["loss"] is None for point in trained.curve)


@pytest.mark.parametrize("given", [None, torch.ones(2), "1.0.0"])
def test_a_step_that_returns_no_loss_is_reported(given: object) -> None:
    class Silent(Counting):
        def meta_step(self, episodes: Episodes) -> Any:
            return given

    with pytest.raises(UsageError, match=f"returned {type(given).__name__}: return the loss as"):
        meta_train(Silent(task()), digits_material(), plan(), silent)


class Fitting(Learner):
    """Goes through base data in minibatches."""

    def __init__(self, task: TaskSpec, epochs: int = 0) -> None:
        super().__init__(task)
        self.epochs = epochs
        self.sizes: list[int] = []

    def fit(self, base: BaseData) -> None:
        train, held_out = base.split(10)
        self.held_out = held_out.y
        for x, _ in train.batches(100, self.epochs):
            self.sizes.append(len(x))
        base.record(accuracy=0.5)

    def adapt(self, support: Support) -> Any: ...
    def predict(self, state: Any, query_x: torch.Tensor) -> torch.Tensor: ...


def test_minibatches_end_with_the_budget_of_updates() -> None:
    learner = Fitting(task())
    trained = meta_train(learner, digits_material(), plan(updates=13), silent)
    assert trained.updates == len(learner.sizes) == 13
    assert trained.images == sum(learner.sizes)
    assert trained.curve[-1].values == {"accuracy": 0.5}
    assert trained.selected == "last"


def test_epochs_take_the_place_of_the_preset() -> None:
    learner = Fitting(task(), epochs=2)
    trained = meta_train(learner, digits_material(), plan(updates=3), silent)
    base, held_out = len(digits_material().labels), len(learner.held_out)
    assert trained.images == 2 * (base - held_out)


def test_a_budget_of_tasks_is_one_of_images() -> None:
    learner = Fitting(task())
    trained = meta_train(learner, digits_material(), plan(updates=None, tasks=50), silent)
    assert 50 * 15 <= trained.images < 50 * 15 + 100
    assert trained.tasks >= 50


def test_a_budget_of_seconds_ends_minibatches() -> None:
    learner = Fitting(task(), epochs=1_000_000)
    trained = meta_train(learner, digits_material(), plan(None, seconds=0.05), silent)
    assert 0.05 <= trained.seconds < 5


def test_one_minibatch_is_drawn_however_short_the_time() -> None:
    trained = meta_train(Fitting(task()), digits_material(), plan(None, seconds=1e-9), silent)
    assert trained.updates == 1


def test_both_ways_of_training_are_refused() -> None:
    class Both(Counting, Fitting):
        pass

    with pytest.raises(UsageError, match="both fit and meta_step"):
        meta_train(Both(task()), digits_material(), plan(), silent)


def test_the_best_state_is_put_back_after_a_learner_grew() -> None:
    class Growing(Counting):
        def __init__(self, task: TaskSpec) -> None:
            super().__init__(task)
            self.bank = torch.zeros(0, 2)
            self.rows: list[torch.Tensor] = []
            self.pair = (0, torch.zeros(1))

        def meta_step(self, episodes: Episodes) -> float:
            self.bank = torch.cat([self.bank, torch.zeros(1, 2)])
            self.rows.append(torch.zeros(1))
            self.pair = (len(self.rows), self.pair[1] + 1)
            return super().meta_step(episodes)

    learner = Growing(task(way=3))
    trained = meta_train(learner, material_with_validation(), plan(updates=10), silent)
    assert trained.selected_update == 6
    assert (len(learner.bank), len(learner.rows)) == (6, 6)
    assert (learner.pair[0], learner.pair[1].item()) == (6, 6)


def test_the_last_state_is_kept_if_the_best_one_does_not_fit_any_more(caplog) -> None:
    class Exchanging(Counting):
        def __init__(self, task: TaskSpec) -> None:
            super().__init__(task)
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.optimizer: Any = torch.optim.Adam([self.weight])

        def meta_step(self, episodes: Episodes) -> float:
            if len(self.seen) == 8:
                self.optimizer = torch.optim.SGD([self.weight], lr=1.0)
            self.weight.data += 1
            return super().meta_step(episodes)

    learner = Exchanging(task(way=3))
    trained = meta_train(learner, material_with_validation(), plan(updates=10), silent)
    assert (trained.selected, trained.selected_update) == ("last", 10)
    assert trained.best_validation is None
    assert "the best state, of update 6, cannot be restored: the state of opt" in trained.problem
    assert learner.weight.item() == 10
    assert caplog.text.count("the last state is kept") == 1


def test_a_learner_whose_best_state_cannot_be_saved_is_not_trained() -> None:
    class Iterating(Counting):
        def __init__(self, task: TaskSpec) -> None:
            super().__init__(task)
            self.numbers = iter(range(100))

    learner = Iterating(task(way=3))
    with pytest.raises(UsageError, match=r"the state of Iterating.numbers, of type range_iterator"):
        meta_train(learner, material_with_validation(), plan(updates=10), silent)
    assert learner.seen == []
    trained = meta_train(learner, digits_material(), plan(updates=10), silent)
    assert trained.selected == "last"


def test_a_part_made_in_training_that_cannot_be_saved_ends_it() -> None:
    class Collecting(Counting):
        def meta_step(self, episodes: Episodes) -> float:
            self.rows = iter(range(100))
            return super().meta_step(episodes)

    with pytest.raises(
        UsageError, match=r"Collecting.rows, of type range_iterator, cannot be saved: use a l"
    ):
        meta_train(Collecting(task(way=3)), material_with_validation(), plan(updates=10), silent)
