"""Parameters of an algorithm, and the identity of a cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from cell.cells import DIGITS_5SHOT, MAML, cell, configured

from metabench.cell.cell import Cell, configure
from metabench.errors import UsageError
from metabench.learner import Algorithm, TrainingEpisodes
from metabench.results.store import cell_path


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
