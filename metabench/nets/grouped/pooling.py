"""Max-pooling 2x2 that is closed under differentiation and keeps channels innermost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_ops = torch.ops.aten
_WINDOW = [2, 2]


def max_pool(x: Tensor) -> Tensor:
    """Return the largest of each 2x2 window of [N, C, H, W]; drop an odd last row and column."""
    y: Tensor = _MaxPool.apply(x)  # type: ignore[no-untyped-call]
    return y


def pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of each window, and its place in the image."""
    largest, at = _ops.max_pool2d_with_indices(x, _WINDOW, _WINDOW)
    return largest, at


def pool_into(largest: Tensor, at: Tensor, x: Tensor) -> None:
    """Do as `pool`, with memory given for the results."""
    _ops.max_pool2d_with_indices.out(x, _WINDOW, _WINDOW, out=largest, indices=at)


def put_back(y: Tensor, at: Tensor, like: Tensor) -> Tensor:
    """Return zeros like an image, with pooled values in their places."""
    image: Tensor = _ops.max_pool2d_with_indices_backward(
        y, like, _WINDOW, _WINDOW, [0, 0], [1, 1], False, at
    )
    return image


def empty_images(shape: Sequence[int], of: Tensor) -> Tensor:
    """Allocate images with channels innermost, of another tensor's type and device."""
    return torch.empty(
        tuple(shape), dtype=of.dtype, device=of.device, memory_format=torch.channels_last
    )


def pick(x: Tensor, at: Tensor) -> Tensor:
    """Return the values of an image at the places that pooling chose."""
    picked = torch.gather(x.flatten(2), 2, at.flatten(2)).view(at.shape)
    return picked.contiguous(memory_format=torch.channels_last)


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        largest, at = pool(x)
        ctx.save_for_backward(at)
        ctx.shape = x.shape
        return largest

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (at,) = ctx.saved_tensors
        return _PutBack.apply(grads[0], at, ctx.shape)  # type: ignore[no-untyped-call]


class _PutBack(Function):
    @staticmethod
    def forward(ctx: Any, gy: Tensor, at: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(at)
        return put_back(gy, at, empty_images(shape, gy))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (at,) = ctx.saved_tensors
        return _Pick.apply(grads[0], at), None, None  # type: ignore[no-untyped-call]


class _Pick(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, at: Tensor) -> Tensor:
        ctx.save_for_backward(at)
        ctx.shape = x.shape
        return pick(x, at)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (at,) = ctx.saved_tensors
        return _PutBack.apply(grads[0], at, ctx.shape), None  # type: ignore[no-untyped-call]
