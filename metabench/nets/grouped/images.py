"""The first convolution of a network and the pooling after it, a few images at a time.

Its outputs are the largest by far, and after pooling nobody needs them: of a few images they fit
into the processor's cache, and of all of them they would be most of the memory that a task takes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from metabench.nets.grouped.convolution import Geometry, by_weight, forward
from metabench.nets.grouped.pooling import pick, pool, put_back

_BYTES = 2**22  # of outputs before pooling, at a time


def convolve_and_pool(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """`max_pool(convolve(x, weight, geometry))` for images, by which nothing is differentiated.

    Args:
        x: [N, groups * C, H, W], without a gradient.
        weight: [groups * D, C, h, w].
        geometry: stride, padding and groups.

    Returns:
        [N, groups * D, H' // 2, W' // 2].
    """
    y: Tensor = _ConvolveAndPool.apply(x, weight, geometry)  # type: ignore[no-untyped-call]
    return y


class _ConvolveAndPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
        pooled = [pool(forward(x[part], w, geometry)) for part in _parts(x, w, geometry)]
        largest, at = (torch.cat(tensors) for tensors in zip(*pooled, strict=True))
        ctx.save_for_backward(x, at)
        ctx.like, ctx.geometry = w.detach(), geometry
        return largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, at = ctx.saved_tensors
        by_w = _ByWeight.apply(grads[0], x, at, ctx.like, ctx.geometry)  # type: ignore[no-untyped-call]
        return None, by_w, None


class _ByWeight(Function):
    """The derivative by the weight, which is linear in that of the output."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, at: Tensor, like: Tensor, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, at)
        ctx.like, ctx.geometry = like, geometry
        total = torch.zeros_like(like)
        for part in _parts(x, like, geometry):
            shape = (len(x[part]), *_output_shape(x, like, geometry))
            image = g.new_empty(shape).to(memory_format=torch.channels_last)
            total += by_weight(put_back(g[part], at[part], image), x[part], like, geometry)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, at = ctx.saved_tensors
        along = _Along.apply(grads[0], x, at, ctx.geometry)  # type: ignore[no-untyped-call]
        return along, None, None, None, None


class _Along(Function):
    """The convolution by another weight, where pooling by the first one looks."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, x: Tensor, at: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, at)
        ctx.like, ctx.geometry = u.detach(), geometry
        u = u.contiguous(memory_format=torch.channels_last)
        parts = _parts(x, u, geometry)
        return torch.cat([pick(forward(x[part], u, geometry), at[part]) for part in parts])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, at = ctx.saved_tensors
        by_u = _ByWeight.apply(grads[0], x, at, ctx.like, ctx.geometry)  # type: ignore[no-untyped-call]
        return by_u, None, None, None


def _parts(x: Tensor, w: Tensor, geometry: Geometry) -> list[slice]:
    channels, height, width = _output_shape(x, w, geometry)
    size = max(1, _BYTES // (channels * height * width * x.element_size()))
    return [slice(first, first + size) for first in range(0, len(x), size)]


def _output_shape(x: Tensor, w: Tensor, geometry: Geometry) -> tuple[int, int, int]:
    """Channels, height and width before pooling."""
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(
            x.shape[2:], geometry.padding, w.shape[2:], geometry.stride, strict=True
        )
    )
    return w.shape[0], height, width
