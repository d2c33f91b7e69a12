"""Step sizes as users write them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from metabench import UsageError
from metabench.nets.step_sizes import step_sizes

NETWORK = nn.Linear(3, 2)
PARAMS = dict(NETWORK.named_parameters())


@pytest.mark.parametrize("lr", [0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_numbers_of_numpy_are_those_of_python(lr: float) -> None:
    for given in (lr, {"weight": lr, "bias": lr}):
        found = step_sizes(NETWORK, PARAMS, given)
        assert found == {"weight": 0.5, "bias": 0.5}
        assert all(type(value) is float for value in found.values())
    assert step_sizes(NETWORK, PARAMS, np.int64(2)) == {"weight": 2.0, "bias": 2.0}


def test_a_tensor_of_one_element_does_not_change_the_shape_of_parameters() -> None:
    found = step_sizes(NETWORK, PARAMS, torch.full((1, 1, 1, 1), 0.5))
    assert all(value.shape == () for value in found.values())  # type: ignore[union-attr]


def test_each_weight_may_have_its_own_for_all_tasks_or_for_each() -> None:
    lr = {"weight": torch.rand(2, 3), "bias": torch.rand(5, 2)}
    found = step_sizes(NETWORK, PARAMS, lr)
    assert all(found[name] is lr[name] for name in lr)


def test_parameters_that_are_not_adapted_may_have_a_step_size() -> None:
    some = {"weight": PARAMS["weight"]}
    assert step_sizes(NETWORK, some, {"weight": 0.1, "bias": 0.2}) == {"weight": 0.1}


@pytest.mark.parametrize(
    ("lr", "complaint"),
    [
        ("0.1", "lr='0.1': write a number"),
        (None, "lr=None: write a number"),
        (True, "lr=True: write a number"),
        (np.array(0.1), "lr=array(0.1): write a number"),
        (torch.rand(2), "lr is a tensor of shape [2]: write a number, or a tensor of one element"),
        ({"weight": 0.1, "bias": [0.1]}, "lr['bias']=[0.1]: write a number"),
        ({"weight": torch.rand(3), "bias": 0.1}, "shape [3]: write a number, or a tensor of one"),
        ({"weight": torch.rand(3), "bias": 0.1}, "element or of shape [2, 3]"),
        ({"weight": 0.1}, "lr has no step size for parameter 'bias'"),
        (
            {"weight": 0.1, "bias": 0.1, "wieght": 0.1},
            "unknown parameter of the network in lr 'wieght': did you mean 'weight'?",
        ),
    ],
)
def test_what_is_no_step_size_is_refused(lr: object, complaint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)):
        step_sizes(NETWORK, PARAMS, lr)  # type: ignore[arg-type]
