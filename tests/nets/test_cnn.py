from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from metabench import UsageError
from metabench.nets.cnn import cnn


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 11, 7), (1, 6, 6)])
def test_it_equals_the_network_written_out(shape: tuple[int, int, int]) -> None:
    module = cnn(shape).double()
    w1, b1, w2, b2, w3, b3 = module.parameters()
    x = torch.rand(4, *shape, dtype=torch.float64)
    maps = F.max_pool2d(F.relu(F.conv2d(F.relu(F.conv2d(x, w1, b1)), w2, b2)), 2)
    expected = F.relu(F.linear(maps.flatten(1), w3, b3))
    assert expected.shape == (4, 128)
    assert torch.allclose(module(x), expected, atol=1e-12)


def test_filters_are_those_of_the_example() -> None:
    widths = [p.shape for p in cnn((1, 28, 28)).parameters() if p.ndim > 1]
    assert widths == [(32, 1, 3, 3), (64, 32, 3, 3), (128, 64 * 12 * 12)]


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(UsageError, match="cnn takes images of at least 6x6, not 28x5"):
        cnn((1, 28, 5))
    with pytest.raises(UsageError, match=r"cnn takes images .* shape \(40,\)"):
        cnn((40,))
