from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from training_materials import task

from metabench import BatchedLearner, Learner, Support, UsageError, class_means, squared_distances
from metabench.worker.answering import answer, as_batched, gather, tensor_on, to_float


class Nearest(Learner):
    def adapt(self, support: Support) -> Tensor:
        return class_means(support)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -squared_distances(query_x.flatten(1), state)


class BatchedNearest(BatchedLearner):
    def adapt(self, support: Support) -> Tensor:
        return class_means(support)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -squared_distances(query_x.flatten(2), state)


def episodes(tasks: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    support = rng.integers(0, 256, (tasks, 5, 1, 8, 8), dtype=np.uint8)
    query = rng.integers(0, 256, (tasks, 15, 1, 8, 8), dtype=np.uint8)
    return support, np.tile(np.arange(5), (tasks, 1)), query


def test_a_plain_learner_in_a_loop_equals_a_batched_one() -> None:
    looped, batched = (answer(kind(task()), *episodes()) for kind in (Nearest, BatchedNearest))
    assert np.allclose(looped, batched, atol=1e-4)
    assert looped.shape == (4, 15, 5)


def test_many_tasks_at_once_equal_one_at_a_time() -> None:
    support_x, support_y, query_x = episodes()
    many = answer(BatchedNearest(task()), support_x, support_y, query_x)
    for t in range(4):
        part = slice(t, t + 1)
        one = answer(BatchedNearest(task()), support_x[part], support_y[part], query_x[part])
        assert np.allclose(one[0], many[t], atol=1e-4)


@pytest.mark.parametrize("kind", [Nearest, BatchedNearest])
@pytest.mark.parametrize("given", [None, [1.0], np.zeros((15, 5))])
def test_outputs_that_are_no_tensor_are_reported(kind: type[Learner], given: object) -> None:
    learner = kind(task())
    learner.predict = lambda *_: given  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(UsageError, match=f"returned {type(given).__name__}, expected a torch"):
        answer(learner, *episodes())


def test_a_batched_learner_is_taken_as_it_is() -> None:
    learner = BatchedNearest(task())
    assert as_batched(learner) is learner


def test_images_become_floats_with_ink_one() -> None:
    images = np.array([[0, 51, 255]], dtype=np.uint8)
    assert to_float(images, "cpu").tolist() == [[0.0, pytest.approx(0.2), 1.0]]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_gathering_equals_indexing_to_the_last_bit(dtype: str, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(0, 256, (40, 1, 9, 7))
    np.save(tmp_path / "x.npy", numbers.astype(dtype))
    examples = np.load(tmp_path / "x.npy", mmap_mode="r")
    members = np.array([[3, 3, 0], [39, 1, 2]])
    x = torch.from_numpy(np.array(examples[members]))
    expected = x.float().div_(255) if dtype == "uint8" else x
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(gather(tensor_on(examples), members, "cpu"), expected)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((15, 4), r"shape \[15, 4\] for one task, expected \[15, 5\]"), ((5, 15), r"\[5, 15\]")],
)
def test_outputs_of_a_wrong_shape_are_refused(shape: tuple[int, ...], message: str) -> None:
    class Wrong(Nearest):
        def predict(self, state: Any, query_x: Tensor) -> Tensor:
            return torch.zeros(shape)

    with pytest.raises(UsageError, match=message):
        answer(Wrong(task()), *episodes())
