"""The first block of a network, a few images at a time: convolution, max-pooling, ReLU.

The outputs of its convolution are by far the largest, and they are not needed after pooling. For
a few images they fit into the processor's cache; for all images they would be most of the memory
that a task takes. This is for CPUs only: other devices have no such cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from metabench.nets.grouped.convolution import Geometry, by_weight, forward
from metabench.nets.grouped.pooling import empty_images, pick, pool_into, put_back
from metabench.nets.norms import BUT_CHANNELS

_ops = torch.ops.aten
_BYTES = 2**22  # of outputs before pooling, at a time
_GROUPS = 4  # at a time: with many groups, the outputs of a single image would be too large


def first_block(x: Tensor, weight: Tensor, shift: Tensor, geometry: Geometry) -> Tensor:
    """Compute `relu(max_pool(convolve(x, weight, geometry) + shift))` for images.

    Args:
        x: [N, groups * C, H, W]; it gets no derivative.
        weight: [groups * D, C, h, w].
        shift: [groups * D].
        geometry: stride, padding and groups.

    Returns:
        [N, groups * D, H' // 2, W' // 2].
    """
    if geometry.groups > _GROUPS:
        return _some_groups_at_a_time(x, weight, shift, geometry)
    if not (torch.is_grad_enabled() and (weight.requires_grad or shift.requires_grad)):
        return _block(x, weight, shift, geometry)  # the places are twice as large as the outputs
    y: Tensor = _FirstBlock.apply(x, weight, shift, geometry)  # type: ignore[no-untyped-call]
    return y


def _some_groups_at_a_time(x: Tensor, weight: Tensor, shift: Tensor, geometry: Geometry) -> Tensor:
    channels, outputs = x.shape[1] // geometry.groups, len(weight) // geometry.groups
    blocks = []
    for first in range(0, geometry.groups, _GROUPS):
        last = min(first + _GROUPS, geometry.groups)
        seen = x[:, first * channels : last * channels].clone(memory_format=torch.channels_last)
        made = slice(first * outputs, last * outputs)
        some = geometry._replace(groups=last - first)
        blocks.append(first_block(seen, weight[made], shift[made], some))
    return torch.cat(blocks, dim=1)


def _block(x: Tensor, w: Tensor, b: Tensor, geometry: Geometry, at: Tensor | None = None) -> Tensor:
    """Return the block's outputs, and write the places that pooling chose to `at`, if given."""
    out = _empty_output(x, w, geometry)
    for part in _parts(x, w, geometry):
        y = forward(x[part], w, geometry, b)
        places = torch.empty_like(out[part], dtype=torch.int64) if at is None else at[part]
        pool_into(out[part], places, y)
        out[part].relu_()
    return out


class _FirstBlock(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, geometry: Geometry) -> Tensor:
        at = torch.empty_like(_empty_output(x, w, geometry), dtype=torch.int64)
        out = _block(x, w, b, geometry, at)
        ctx.save_for_backward(x, out, at)
        ctx.like, ctx.geometry = w.detach(), geometry
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        saved = (*ctx.saved_tensors, ctx.like, ctx.geometry)
        by_w, by_b = _Backward.apply(grads[0], *saved)  # type: ignore[no-untyped-call]
        return None, by_w, by_b, None


class _Backward(Function):
    """The derivatives by weight and shift, which are linear in the output's cotangent."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, out: Tensor, at: Tensor, like: Tensor, geometry: Geometry
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, out, at)
        ctx.like, ctx.geometry = like, geometry
        shape = _output_shape(x, like, geometry)
        by_w, by_b = torch.zeros_like(like), like.new_zeros(len(like))
        for part in _parts(x, like, geometry):
            h = _ops.threshold_backward(g[part], out[part], 0)
            image = empty_images((len(h), *shape), g)
            by_w += by_weight(put_back(h, at[part], image), x[part], like, geometry)
            by_b += h.sum(BUT_CHANNELS)
        return by_w, by_b

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        along = _Along.apply(*grads, *ctx.saved_tensors, ctx.geometry)  # type: ignore[no-untyped-call]
        return along, None, None, None, None, None


class _Along(Function):
    """The block with another weight and shift, with pooling and ReLU as the first ones chose."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, x: Tensor, out: Tensor, at: Tensor, geometry: Geometry
    ) -> Tensor:
        ctx.save_for_backward(x, out, at)
        ctx.like, ctx.geometry = u.detach(), geometry
        u = u.contiguous(memory_format=torch.channels_last)
        along = torch.empty_like(out)
        for part in _parts(x, u, geometry):
            picked = pick(forward(x[part], u, geometry, v), at[part])
            along[part] = _ops.threshold_backward(picked, out[part], 0)
        return along

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        saved = (*ctx.saved_tensors, ctx.like, ctx.geometry)
        by_u, by_v = _Backward.apply(grads[0], *saved)  # type: ignore[no-untyped-call]
        return by_u, by_v, None, None, None, None


def _parts(x: Tensor, w: Tensor, geometry: Geometry) -> Iterator[slice]:
    channels, height, width = _output_shape(x, w, geometry)
    size = max(1, _BYTES // max(1, channels * height * width * x.element_size()))
    for first in range(0, len(x), size):
        yield slice(first, first + size)


def _empty_output(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    channels, height, width = _output_shape(x, w, geometry)
    return empty_images((len(x), channels, height // 2, width // 2), x)


def _output_shape(x: Tensor, w: Tensor, geometry: Geometry) -> tuple[int, int, int]:
    """Return channels, height and width before pooling."""
    height, width = (
        (side + 2 * pad - kernel) // step + 1
        for side, pad, kernel, step in zip(
            x.shape[2:], geometry.padding, w.shape[2:], geometry.stride, strict=True
        )
    )
    return w.shape[0], height, width
