"""Parameters of an algorithm, the identity of a cell, and its training episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_materials import digits_material

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured, configure, training_shape, validation_shape
from metabench.data.dataset import Dataset
from metabench.errors import DataError, UsageError
from metabench.learner import Algorithm, TrainingEpisodes
from metabench.results.schema import Training
from metabench.results.store import cell_path
from metabench.suites.builtin_suites import SUITES
from metabench.suites.protocol import BySplit
from metabench.suites.suite import Suite
from metabench.suites.training_data import Material

DIGITS, DIGITS_5SHOT = SUITES[:2]
MAML = Algorithm(
    "maml",
    build="module:attr",
    params={"lr": 0.1, "steps": 5, "bn": "support", "first_order": False},
    training=TrainingEpisodes(shot=2, tasks_per_step=4),
)


def configured(algorithm: Algorithm = MAML, **given: str) -> Configured:
    return configure(algorithm, given, provider="some.py")


def cell(suite: Suite = DIGITS, seed: int = 0, budget: str = "smoke", **more: Any) -> Cell:
    given = more.pop("given", {})
    return Cell(suite, configured(**given), seed, Budget.parse(budget), **more)


def test_without_parameters_everything_is_as_declared() -> None:
    found = configured()
    assert found.params == MAML.params
    assert found.chosen == {}
    assert found.training == MAML.training
    assert found.address == "maml"


def test_given_parameters_take_the_type_of_their_defaults() -> None:
    found = configured(lr="1", steps="3", first_order="TRUE")
    assert found.params == {"lr": 1.0, "steps": 3, "bn": "support", "first_order": True}
    assert isinstance(found.params["lr"], float)
    assert found.chosen == {"lr": 1.0, "steps": 3, "first_order": True}
    assert found.address == "maml[lr=1.0,steps=3,first_order=true]"


def test_a_default_written_out_is_no_choice() -> None:
    assert configured(lr="0.10", tasks_per_step="4").address == "maml"


def test_training_episodes_are_parameters_of_every_algorithm() -> None:
    found = configured(train_way="3", train_query="7", tasks_per_step="1")
    assert found.training == TrainingEpisodes(way=3, shot=2, query=7, tasks_per_step=1)
    assert found.params == MAML.params  # `build` does not get them
    assert found.chosen == {"train_way": 3, "train_query": 7, "tasks_per_step": 1}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"steeps": "3"}, "unknown parameter of maml 'steeps': did you mean 'steps'?"),
        ({"steps": "few"}, "maml[steps=few]: 'steps' takes int"),
        ({"first_order": "yes"}, "maml[first_order=yes]: 'first_order' takes true or false"),
        ({"train_way": "0"}, "maml[train_way=0]: must be at least 1"),
        ({"tasks_per_step": "-1"}, "maml[tasks_per_step=-1]: must be at least 1"),
        ({"steps": str(2**63)}, f"maml[steps={2**63}]: must fit in 64 bits"),
        ({"lr": "nan"}, "maml[lr=nan]: must be a finite number"),
        ({"lr": "-inf"}, "maml[lr=-inf]: must be a finite number"),
    ],
)
def test_a_wrong_parameter_is_named(given: dict[str, str], error: str) -> None:
    with pytest.raises(UsageError) as caught:
        configured(**given)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (cell(), "digits-5w1s/maml/default-s0-smoke-cpu.json"),
        (cell(seed=2, budget="tasks=20"), "digits-5w1s/maml/default-s2-tasks=20-cpu.json"),
        (cell(device="cuda:1"), "digits-5w1s/maml/default-s0-smoke-cuda.json"),
        (cell(given={"lr": "1"}), "digits-5w1s/maml/lr=1.0-s0-smoke-cpu.json"),
        (
            cell(given={"train_way": "3"}, train_on=DIGITS_5SHOT),
            "digits-5w1s/maml/train_on=digits-5w5s,train_way=3-s0-smoke-cpu.json",
        ),
    ],
)
def test_the_path_is_all_that_was_asked_for(made: Cell, path: str) -> None:
    assert made.path == Path(path)


def test_a_cell_is_described_in_words() -> None:
    assert str(cell(given={"steps": "3"}, seed=1)) == "digits-5w1s maml[steps=3] seed 1"


def test_cells_can_be_keys() -> None:
    first, second = cell(), cell(seed=1)
    assert {first: "bar of the first", second: "another"}[first] == "bar of the first"


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


def uneven(*sizes: int, validation: tuple[int, ...] = ()) -> Material:
    """Material whose classes "0", "1", ... have these numbers of images, validation last."""
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
    return Material.of(dataset, "test", BySplit().pools(dataset))


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


@pytest.mark.parametrize(
    ("written", "path", "chosen"),
    [
        ("conv4", "default", {}),
        ("conv4[pool=TRUE]", "default", {}),
        ("conv4[bn=support]", "default", {}),
        ("conv4[channels=08,pool=False]", None, {"net": "conv4[bn=support,channels=8,pool=false]"}),
        (
            "conv4[ pool=false, channels=8]",
            None,
            {"net": "conv4[bn=support,channels=8,pool=false]"},
        ),
        ("conv4[bn=none]", None, {"net": "conv4[bn=none]"}),
        ("mlp[width=064]", None, {"net": "mlp"}),
        ("other[x=1]", None, {"net": "other[x=1]"}),
    ],
)
def test_spellings_of_one_backbone_are_one_method(
    written: str, path: str | None, chosen: dict[str, str]
) -> None:
    algorithm = Algorithm("maml", build="module:attr", params={"net": "conv4[bn=support]"})
    backbones = {"conv4": {"channels": 64, "pool": True, "bn": "running"}, "mlp": {"width": 64}}
    found = configure(algorithm, {"net": written}, "some.py", backbones)
    assert found.chosen == chosen
    again = configure(algorithm, dict(found.chosen), "some.py", backbones)
    assert again.params == found.params
    if path is not None:
        assert found.params == algorithm.params


def test_values_that_look_like_parameters_do_not_share_a_path() -> None:
    one = cell_path("s", "w", {"a": "1,b=2"}, 0, "smoke", "cpu")
    assert one != cell_path("s", "w", {"a": "1", "b": "2"}, 0, "smoke", "cpu")
