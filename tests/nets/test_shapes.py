from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from metabench import UsageError
from metabench.nets.conv4 import conv4
from metabench.nets.shapes import channels_innermost, image_shape, out_features


def test_width_is_found_by_trying() -> None:
    assert out_features(nn.Flatten(), (3, 4, 5)) == 60
    assert out_features(conv4((1, 28, 28), channels=16, pool=False), (1, 28, 28)) == 64
    assert out_features(nn.Linear(7, 2).double(), (7,)) == 2


def test_trying_leaves_no_trace() -> None:
    module = conv4((1, 8, 8)).train()
    module[1].eval()  # a part that its owner has frozen
    modes = [part.training for part in module.modules()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    drawn = torch.get_rng_state()
    out_features(module, (1, 8, 8))
    assert [part.training for part in module.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_modes_come_back_when_the_shape_does_not_fit() -> None:
    module = nn.Sequential(nn.Linear(3, 2)).train()
    with pytest.raises(RuntimeError):
        out_features(module, (4,))
    assert module.training


def test_image_shapes() -> None:
    assert image_shape("b", (3, 6, 7), smallest=6) == (3, 6, 7)
    with pytest.raises(UsageError, match="backbone b takes images of at least 6x6, not 6x5"):
        image_shape("b", (3, 6, 5), smallest=6)


def test_the_layout_of_weights_changes_no_output() -> None:
    plain = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten()).double()
    innermost = channels_innermost(copy.deepcopy(plain))
    x = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    assert torch.allclose(innermost(x), plain(x), atol=1e-12)
    assert innermost[2].weight.is_contiguous(memory_format=torch.channels_last)
