"""The shape of training and validation episodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cell.cells import DIGITS, cell, configured
from training_materials import digits_material

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell
from metabench.cell.training_shape import training_shape, validation_shape
from metabench.data.dataset import Dataset
from metabench.errors import DataError
from metabench.learner import Algorithm
from metabench.results.schema import Training
from metabench.suites.protocol import BySplit
from metabench.suites.training_data import TrainingData


def test_training_episodes_are_the_suites_unless_asked_otherwise() -> None:
    plain = Algorithm("plain", build="module:attr")
    made = Cell(DIGITS, configured(plain), 0, Budget.parse("smoke"))
    shape = training_shape(made, digits_material())
    assert shape == Training(way=5, shot=1, query=15, tasks_per_step=1)


def test_training_way_stays_within_the_base_classes() -> None:
    shape = training_shape(cell(suite=replace(DIGITS, way=60)), digits_material())
    assert shape == Training(way=5, shot=2, query=15, tasks_per_step=4)


def test_a_training_way_that_was_asked_for_is_not_cut_silently() -> None:
    with pytest.raises(DataError, match=r"60 classes, there are 5 \(55 missing\).*train_way"):
        training_shape(cell(given={"train_way": "60"}), digits_material())


def test_training_queries_stay_within_the_images_of_a_class() -> None:
    material = digits_material()
    fewest = min(len(images) for images in material.base.support)
    shape = training_shape(cell(suite=replace(DIGITS, query=5000)), material)
    assert shape.query == fewest - 2


def uneven(*sizes: int, validation: tuple[int, ...] = ()) -> TrainingData:
    """Training data whose classes "0", "1", ... have these numbers of images, validation last."""
    counts = [*sizes, *validation]
    labels = np.arange(len(counts)).repeat(counts)
    dataset = Dataset(
        "uneven",
        np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1),
        labels,
        tuple(map(str, range(len(counts)))),
        {
            "base": np.arange(len(sizes)),
            "validation": np.arange(len(sizes), len(counts)),
        },
    )
    return TrainingData.of(dataset, "test", BySplit().pools(dataset))


@pytest.mark.parametrize(
    ("sizes", "query", "asked", "left_out"),
    [
        ((20,) * 6, 15, None, []),
        ((3, 20, 20, 20, 20, 20), 15, None, ["0"]),
        ((20, 2, 20, 20, 20, 5, 20), 15, None, ["1", "5"]),
        ((12,) * 6, 10, 15, []),  # equal classes: all are used
        ((12, 11, 14, 13, 12, 12), 9, 15, []),
        ((3, 12, 12, 12, 12, 12), 10, 15, ["0"]),
        ((3, 20, 20, 20, 20), 1, 15, []),  # five ways need five classes
    ],
)
def test_few_small_classes_are_left_out_and_do_not_cut_queries(
    sizes: tuple[int, ...], query: int, asked: int | None, left_out: list[str]
) -> None:
    material = uneven(*sizes)
    shape = training_shape(cell(), material)
    assert (shape.query, shape.asked_query, shape.left_out) == (query, asked, left_out)
    drawn = material.training(0, 0, 50, shape.way, shape.shot, shape.query)
    used = {str(c) for c in np.unique(drawn.classes)}
    assert used == {*material.base.names} - {*left_out}
    assert all(len({*row}) == len(row) for row in np.hstack([drawn.support, drawn.query]))


def test_a_training_way_that_was_asked_for_counts_when_small_classes_are_left_out() -> None:
    material = uneven(4, 4, 20, 20, 20, 20, 20)
    assert training_shape(cell(given={"train_way": "5"}), material).left_out == ["0", "1"]
    shape = training_shape(cell(given={"train_way": "7"}), material)
    assert (shape.way, shape.query, shape.asked_query) == (7, 2, 15)


def test_training_queries_that_were_asked_for_are_not_cut() -> None:
    given = {"train_query": "18"}
    assert training_shape(cell(given=given), uneven(4, *[20] * 6)).left_out == ["0"]
    with pytest.raises(DataError, match=r"class '0' has 19 images"):
        training_shape(cell(given=given), uneven(*[19] * 6))


def test_small_validation_classes_are_left_out_too() -> None:
    material = uneven(*[20] * 6, validation=(2, 20, 20, 20, 20, 20))
    assert validation_shape(cell(), material) == (5, 1, 15)
    drawn = material.validating(50, 5, 1, 15)
    assert drawn is not None
    assert np.unique(drawn.classes).tolist() == [7, 8, 9, 10, 11]


def test_too_many_shots_for_the_base_classes_are_an_error_with_advice() -> None:
    with pytest.raises(DataError, match="train_way, train_shot, train_query"):
        training_shape(cell(given={"train_shot": "5000"}), digits_material())
