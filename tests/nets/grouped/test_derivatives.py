"""The functions with derivatives of their own, against torch's and against finite differences."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.nets.grouped import first_block
from metabench.nets.grouped.convolution import Geometry, convolve
from metabench.nets.grouped.normalisation import normalise, rescale, statistics
from metabench.nets.grouped.pooling import max_pool

# Compare random projections of Jacobians: a tenth of the time of comparing each element.
gradcheck = partial(torch.autograd.gradcheck, fast_mode=True)
gradgradcheck = partial(torch.autograd.gradgradcheck, fast_mode=True)


def tensor(*shape: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=g, dtype=torch.float64)
    if len(shape) == 4:
        values = values.contiguous(memory_format=torch.channels_last)
    return values.requires_grad_()


shapes = pytest.mark.parametrize("shape", [(3, 4, 4, 4), (2, 4, 5, 7), (3, 4, 2, 2)])
halving = pytest.mark.parametrize("halve", [True, False])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_convolution_and_its_derivatives(stride: int, padding: int) -> None:
    x, w = tensor(2, 6, 5, 5), tensor(4, 3, 3, 3, seed=1)
    geometry = Geometry((stride, stride), (padding, padding), 2)

    def of_both(x: Tensor, w: Tensor) -> Tensor:
        return convolve(x, w, geometry)

    assert torch.allclose(of_both(x, w), F.conv2d(x, w, None, stride, padding, 1, 2))
    assert gradcheck(of_both, (x, w))
    assert gradgradcheck(of_both, (x, w))
    images = x.detach()  # which have no derivative
    assert gradcheck(lambda w: convolve(images, w, geometry), (w,))
    assert gradgradcheck(lambda w: convolve(images, w, geometry), (w,))


def test_a_convolution_can_be_differentiated_three_times() -> None:
    geometry, one = Geometry((1, 1), (1, 1), 1), Geometry((1, 1), (1, 1), 1)
    x, w = tensor(2, 2, 3, 3), tensor(2, 2, 3, 3, seed=1)

    def third(apply: object) -> Tensor:
        value = apply(x, w).pow(4).sum()  # type: ignore[operator]
        for _ in range(3):
            (grad,) = torch.autograd.grad(value, w, create_graph=True)
            value = grad.pow(2).sum()
        return value

    assert geometry == one
    expected = third(lambda x, w: F.conv2d(x, w, None, 1, 1))
    assert torch.allclose(third(lambda x, w: convolve(x, w, geometry)), expected)


@shapes
def test_pooling_and_its_derivatives(shape: tuple[int, ...]) -> None:
    x = tensor(*shape)
    assert torch.equal(max_pool(x), F.max_pool2d(x, 2))
    assert gradcheck(max_pool, (x,))
    assert gradgradcheck(max_pool, (x,))


@pytest.mark.parametrize("at_a_time", [1, 4 * 5 * 7 * 8 * 2, 2**22])
def test_the_first_block_a_few_images_at_a_time(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_block, "_BYTES", at_a_time)
    geometry = Geometry((1, 1), (1, 0), 2)
    x = tensor(5, 4, 5, 9).detach()
    w, shift = tensor(4, 2, 3, 3, seed=1), tensor(4, seed=2)

    def ours(w: Tensor, shift: Tensor) -> Tensor:
        return first_block.first_block(x, w, shift, geometry)

    def expected(w: Tensor, shift: Tensor) -> Tensor:
        return F.max_pool2d(F.conv2d(x, w, shift, 1, (1, 0), 1, 2), 2).relu()

    assert torch.allclose(ours(w, shift), expected(w, shift))
    assert gradcheck(ours, (w, shift))
    assert gradgradcheck(ours, (w, shift))
    values = []
    for f in (ours, expected):
        value = f(w, shift).pow(4).sum()
        for _ in range(3):
            (grad,) = torch.autograd.grad(value, w, create_graph=True)
            value = grad.pow(2).sum()
        values.append(value)
    assert torch.allclose(*values)


@pytest.mark.parametrize("at_a_time", [1, 3])
def test_the_first_block_a_few_groups_at_a_time(
    at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_block, "_GROUPS", at_a_time)
    geometry = Geometry((1, 1), (1, 0), 4)
    x, w, shift = tensor(3, 8, 5, 6).detach(), tensor(8, 2, 3, 3, seed=1), tensor(8, seed=2)

    def ours(w: Tensor, shift: Tensor) -> Tensor:
        return first_block.first_block(x, w, shift, geometry)

    found = ours(w, shift)
    expected = F.max_pool2d(F.conv2d(x, w, shift, 1, (1, 0), 1, 4), 2).relu()
    assert torch.allclose(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert gradcheck(ours, (w, shift))
    assert gradgradcheck(ours, (w, shift))


def test_pooling_of_equal_values_sends_the_gradient_where_torch_does() -> None:
    x = torch.zeros(2, 3, 6, 6, requires_grad=True)
    y = torch.zeros(2, 3, 6, 6, requires_grad=True)
    max_pool(x).sum().backward()
    F.max_pool2d(y, 2).sum().backward()
    assert torch.equal(x.grad, y.grad)


@shapes
def test_statistics_and_their_derivatives(shape: tuple[int, ...]) -> None:
    y = tensor(*shape)
    mean, var = statistics(y)
    assert torch.allclose(mean, y.mean((0, 2, 3)))
    assert torch.allclose(var, y.var((0, 2, 3), unbiased=False))
    assert gradcheck(statistics, (y,))
    assert gradgradcheck(statistics, (y,))


def normalised(y: Tensor, weight: Tensor, bias: Tensor, halve: bool) -> Tensor:
    out = F.batch_norm(y, None, None, weight, bias, training=True, eps=1e-5).relu()
    return F.max_pool2d(out, 2) if halve else out


@shapes
@halving
def test_normalisation_and_its_derivatives(shape: tuple[int, ...], halve: bool) -> None:
    y, bias = tensor(*shape), tensor(4, seed=2)
    weight = torch.tensor([1.5, 0.7, 0.4, 2.0], dtype=torch.float64)
    if not halve:  # the largest value of a window would become the smallest
        weight[1::2] *= -1
    weight.requires_grad_()

    def ours(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return normalise(y, weight, bias, 1e-5, halve=halve)

    assert torch.allclose(
        ours(y, weight, bias), normalised(y, weight, bias, halve), rtol=1e-10, atol=1e-12
    )
    assert gradcheck(ours, (y, weight, bias))
    assert gradgradcheck(ours, (y, weight, bias))


def test_a_weight_of_zero_has_the_gradient_that_torch_gives_it() -> None:
    y, bias = tensor(3, 4, 4, 4), tensor(4, seed=2)
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    ours, theirs = (
        torch.autograd.grad((f(y, weight, bias) * 0.3).sum(), [y, bias])
        for f in (
            lambda y, w, b: normalise(y, w, b, 1e-5, halve=False),
            lambda y, w, b: normalised(y, w, b, halve=False),
        )
    )
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


@halving
def test_third_derivatives_are_those_of_the_formula(halve: bool) -> None:
    """torch's own batch normalisation gets these wrong."""
    y, weight, bias = tensor(3, 4, 4, 4), tensor(4, seed=1).abs(), tensor(4, seed=2)

    def second(y: Tensor) -> Tensor:
        value = normalise(y, weight, bias, 1e-5, halve=halve).pow(2).sum()
        for _ in range(2):
            (grad,) = torch.autograd.grad(value, y, create_graph=True)
            value = grad.pow(2).sum()
        return value

    along = tensor(*y.shape, seed=3).detach()
    (third,) = torch.autograd.grad(second(y), y)
    step = 1e-6
    ahead, behind = (second(y + sign * step * along) for sign in (1, -1))
    difference = (ahead - behind) / (2 * step)
    assert torch.allclose((third * along).sum(), difference, rtol=1e-5)


@shapes
@halving
@pytest.mark.parametrize("relu", [True, False])
def test_scaling_and_its_derivatives(shape: tuple[int, ...], halve: bool, relu: bool) -> None:
    y, scale, shift = tensor(*shape), tensor(4, seed=1), tensor(4, seed=2)
    if halve:
        scale = scale.detach().abs().requires_grad_()

    def ours(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return rescale(y, scale, shift, relu=relu, halve=halve)

    plain = y * scale[:, None, None] + shift[:, None, None]
    plain = plain.relu() if relu else plain
    assert torch.allclose(ours(y, scale, shift), F.max_pool2d(plain, 2) if halve else plain)
    assert gradcheck(ours, (y, scale, shift))
    assert gradgradcheck(ours, (y, scale, shift))
