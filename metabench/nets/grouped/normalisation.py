"""Batch normalisation, ReLU and pooling in one, by the statistics of the batch itself.

Normalisation is affine, and increasing once the signs of its gains are moved into the filters
before it, so it may follow pooling. The tensors that are normalised, and those kept for the
derivatives, are then a quarter as large. Only the statistics need the whole image.

In the comments, y is an image, n the number of its values in a channel, x the normalised image
(y - mean) * inv, and k = weight * inv. U puts pooled values back in their places in the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import vjp
from torch.nn import functional as F

from metabench.nets.grouped.pooling import max_pool, pick, pool, put_back
from metabench.nets.norms import BUT_CHANNELS

_ops = torch.ops.aten


def normalise(y: Tensor, weight: Tensor, bias: Tensor, eps: float, *, halve: bool) -> Tensor:
    """Normalise by the batch's own statistics, apply ReLU, and max-pool 2x2 if asked for.

    Args:
        y: [N, C, H, W].
        weight: [C], the gains; none below zero if `halve`.
        bias: [C].
        eps: added to the variance.
        halve: whether to pool.

    Returns:
        [N, C, H // 2, W // 2], or [N, C, H, W].

    References:
        Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 1.
    """
    out: Tensor = _Normalise.apply(y, weight, bias, eps, halve)  # type: ignore[no-untyped-call]
    return out


def rescale(
    y: Tensor, scale: Tensor | None, shift: Tensor | None, *, relu: bool, halve: bool
) -> Tensor:
    """Compute y * scale + shift, ReLU and max-pooling, as far as asked for.

    Here y is [N, C, H, W], scale and shift are [C]. No scale may be below zero if `halve`.
    """
    if halve:
        y = max_pool(y)
    if scale is not None and shift is not None:
        y = torch.addcmul(wide(shift), y, wide(scale))
    elif shift is not None:
        y = y + wide(shift)
    return y.relu() if relu else y


def statistics(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and biased variance of each channel, [C]."""
    mean, var = _Statistics.apply(y)  # type: ignore[no-untyped-call]
    return mean, var


@torch.no_grad()
def move(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """Move the statistics that a normalisation keeps, by those of a batch.

    Args:
        norm: a normalisation in training mode.
        mean: [1, C], of `count` values in each channel.
        var: [1, C], their biased variance.
        count: at least 2.
    """
    assert norm.momentum is not None  # ensured by `layers.read`
    # By `data`, as torch's own operator does, unseen by autograd: an earlier pass through the norm
    # has saved these tensors, although its derivatives do not depend on them.
    norm.get_buffer("running_mean").data.lerp_(mean[0], norm.momentum)
    norm.get_buffer("running_var").data.lerp_(var[0] * (count / (count - 1)), norm.momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def signs(gain: Tensor) -> Tensor | None:
    """Return -1 where a gain is below zero, 1 elsewhere; None on a CPU if none is below zero.

    If filters and gains are both multiplied by these signs, outputs stay the same and no gain is
    below zero, as pooling before normalisation requires. A gain of exactly zero makes all places
    of a window equal: its own derivative is then taken at the largest value of the image, where
    torch takes it at the first.
    """
    below = gain < 0
    if gain.device.type == "cpu" and not bool(below.any()):  # others would have to wait
        return None
    return 1 - 2 * below.to(gain.dtype)


def wide(values: Tensor) -> Tensor:
    """Reshape [C] to [1, C, 1, 1]."""
    return values.view(1, -1, 1, 1)


def _statistics(y: Tensor) -> tuple[Tensor, Tensor]:
    # `torch.var_mean` takes thirty times as long if channels are innermost.
    mean, var = _ops.batch_norm_update_stats(y, None, None, 0.0)
    return mean, var


class _Statistics(Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(y)
        return _statistics(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        by_mean, by_var = grads
        (y,) = ctx.saved_tensors
        n = y.numel() // y.shape[1]
        centred = y - y.mean(BUT_CHANNELS, keepdim=True)
        return torch.addcmul(wide(by_mean / n), centred, wide(2 * by_var / n))


class _Normalise(Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, weight: Tensor, bias: Tensor, eps: float, halve: bool
    ) -> Tensor:
        mean, var = _statistics(y)
        inv = (var + eps).rsqrt()
        top, at = pool(y) if halve else (y, None)
        scale = weight * inv
        out = torch.addcmul(wide(bias - mean * scale), top, wide(scale)).relu_()
        ctx.save_for_backward(y, weight, bias, top, out, at, mean, inv)
        ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return (*_NormDerivatives.apply(grads[0], *ctx.saved_tensors, ctx.eps), None, None)  # type: ignore[no-untyped-call]


class _NormDerivatives(Function):
    """Derivatives by y, weight and bias: U(k h) - k (sum h + x sum h x) / n, sum h x, sum h.

    Here h is the cotangent of the output where the output is positive. In sums, x is taken at the
    places that pooling chose.
    """

    @staticmethod
    def forward(
        ctx: Any,
        g_out: Tensor,
        y: Tensor,
        weight: Tensor,
        bias: Tensor,
        top: Tensor,
        out: Tensor,
        at: Tensor | None,
        mean: Tensor,
        inv: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        h = _ops.threshold_backward(g_out, out, 0)
        by_weight, by_bias = _sums(h, top, mean, inv)
        k, n = weight * inv, y.numel() // y.shape[1]
        of_y = -k * inv * by_weight / n
        constant = -k * by_bias / n - of_y * mean
        image = h * wide(k)
        by_y = _plus_affine(image if at is None else put_back(image, at, y), y, of_y, constant)
        saved = g_out, y, weight, bias, top, out, at, mean, inv, by_weight, by_bias
        ctx.save_for_backward(*saved)
        ctx.eps = eps
        return by_y, by_weight, by_bias

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        v, a, b = grads  # cotangents of the derivatives by y, weight and bias
        g_out, y, weight, bias, top, out, at, mean, inv, by_weight, by_bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # the code below cannot be differentiated again
            again = _by_torch(g_out, y, weight, bias, ctx.eps, at is not None, grads)
            return *again, *[None] * 7
        h = _ops.threshold_backward(g_out, out, 0)
        k, n = weight * inv, y.numel() // y.shape[1]
        v = v.contiguous(memory_format=torch.channels_last)
        v_x, v_sum = _sums(v, y, mean, inv)  # sum v x, sum v
        v_top = v if at is None else pick(v, at)

        of_x = a - k * v_x / n
        shift = b - k * v_sum / n - of_x * inv * mean
        inside = torch.addcmul(wide(shift), top, wide(of_x * inv)).addcmul_(v_top, wide(k))
        g_g_out = _ops.threshold_backward(inside, out, 0)

        by_k = (h * v_top).sum(BUT_CHANNELS) - (by_bias * v_sum + by_weight * v_x) / n
        # The cotangent of x is X = U(of_x h) - k by_weight v / n; that of inv, as a factor of k,
        # is weight * by_k. The lines below take both back to y.
        of_v = -k * by_weight / n
        x_sum = of_v * v_sum + of_x * by_bias
        x_x = of_v * v_x + of_x * by_weight
        of_y = -inv * inv * (x_x + weight * by_k * inv) / n
        constant = -inv * x_sum / n - of_y * mean
        image = h * wide(inv * of_x)
        image = image if at is None else put_back(image, at, y)
        g_y = _plus_affine(image, y, of_y, constant).addcmul_(v, wide(inv * of_v))
        return g_g_out, g_y, inv * by_k, *[None] * 7


def _by_torch(
    g_out: Tensor,
    y: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    halve: bool,
    cotangents: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Return the second derivative by operators that can be differentiated further, but slower.

    `F.batch_norm` is not among them: in torch 2.13 its third derivative is silently wrong.
    """

    def forward(y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        centred = y - y.mean(BUT_CHANNELS, keepdim=True)
        inv = (centred.square().mean(BUT_CHANNELS) + eps).rsqrt()
        out = (centred * wide(weight * inv) + wide(bias)).relu()
        return F.max_pool2d(out, 2) if halve else out

    def first(g_out: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        derivatives: tuple[Tensor, ...] = vjp(forward, y, weight, bias)[1](g_out)
        return derivatives

    second: tuple[Tensor, ...] = vjp(first, g_out, y, weight)[1](cotangents)
    return second


def _sums(h: Tensor, y: Tensor, mean: Tensor, inv: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums of h x and of h in each channel, in one pass."""
    gain = torch.ones_like(inv)  # without one, on a GPU there is no sum of h x
    _, h_x, h_sum = _ops.native_batch_norm_backward(
        h, y, gain, None, None, mean, inv, True, 0.0, [False, True, True]
    )
    return h_x, h_sum


def _plus_affine(image: Tensor, y: Tensor, of_y: Tensor, constant: Tensor) -> Tensor:
    """Add of_y * y + constant to an image, in place."""
    return image.addcmul_(y, wide(of_y)).add_(wide(constant))
