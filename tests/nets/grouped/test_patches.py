"""A convolution's outputs and their statistics from its patches, against the convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metabench.nets.grouped.layers import Convolution
from metabench.nets.grouped.patches import Patches, columns, convolve_columns


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(1, 9, 3, padding=1),
        nn.Conv2d(2, 40, 3, stride=2, padding=(0, 1)),
        nn.Conv2d(3, 20, (2, 3), stride=(1, 2), padding=1),
    ],
)
def test_outputs_and_their_statistics_are_those_of_a_convolution(conv: nn.Conv2d) -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(2, 5, conv.in_channels, 7, 8, generator=g, dtype=torch.float64)
    weight = torch.randn(2, *conv.weight.shape, generator=g, dtype=torch.float64)
    layer = Convolution("0", conv)
    patches, found = Patches.of(x, layer), columns(x, layer)
    assert patches is not None
    assert found is not None
    mean, var = patches.statistics(weight)
    outputs = convolve_columns(found, weight).unflatten(0, (2, 5))
    for t in range(2):
        y = nn.functional.conv2d(x[t], weight[t], None, conv.stride, conv.padding)
        assert torch.allclose(outputs[t], y)
        assert torch.allclose(mean[t], y.mean((0, 2, 3)))
        assert torch.allclose(var[t], y.var((0, 2, 3), unbiased=False))


def test_they_are_left_to_the_outputs_where_patches_are_larger() -> None:
    assert Patches.of(torch.rand(1, 1, 3, 7, 7), Convolution("0", nn.Conv2d(3, 26, 3))) is None


def test_images_without_ink_have_no_variance() -> None:
    patches = Patches.of(torch.zeros(1, 4, 1, 8, 8), Convolution("0", nn.Conv2d(1, 9, 3)))
    assert patches is not None
    mean, var = patches.statistics(torch.randn(1, 9, 1, 3, 3))
    assert not mean.any()
    assert not var.any()


def test_a_single_patch_has_no_statistics() -> None:
    one = Convolution("0", nn.Conv2d(1, 9, 3))
    assert Patches.of(torch.rand(2, 1, 1, 3, 3), one) is None
    assert Patches.of(torch.rand(2, 2, 1, 3, 3), one) is not None


def test_a_filter_that_sees_differences_alone_sees_them_in_images_of_any_brightness() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1, 40, 1, 1, 1, generator=g) + 0.01 * torch.randn(1, 40, 1, 20, 20, generator=g)
    weight = torch.randn(1, 9, 1, 3, 3, generator=g)
    weight = weight - weight.mean((2, 3, 4), keepdim=True)
    conv = Convolution("0", nn.Conv2d(1, 9, 3))
    found, exact = (Patches.of(images, conv) for images in (x, x.double()))
    assert found is not None
    assert exact is not None
    _, var = found.statistics(weight)
    assert var.dtype == torch.float32
    assert torch.allclose(var.double(), exact.statistics(weight.double())[1], rtol=1e-5)


def test_no_variance_is_below_zero() -> None:
    """A kernel that is blind to ramps, on ramps, as large as no trained one is."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    ramps = torch.stack([rows + k * columns for k in range(4)])[None, :, None] / 60
    patches = Patches.of(ramps, Convolution("0", nn.Conv2d(1, 9, 3)))
    assert patches is not None
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(1, 9, 1, 3, 3)
    for size in (1, 30, 1000):
        _, var = patches.statistics(size * kernel)
        assert (var >= 0).all()
