"""A convolution that is closed under differentiation.

The derivative of a convolution by its input or its weight is a convolution again, and so on.
Autograd's formula for the second derivative treats groups one by one; this one does not.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

_ops = torch.ops.aten


class Geometry(NamedTuple):
    """The movement of a kernel over an image, in the terms of `nn.Conv2d`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int


def convolve(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Convolve images by groups, without bias, in a form that is fast to differentiate repeatedly.

    Args:
        x: [N, groups * C, H, W].
        weight: [groups * D, C, h, w].
        geometry: stride, padding and groups.

    Returns:
        [N, groups * D, H', W'].
    """
    y: Tensor = _Convolution.apply(x, weight, geometry)  # type: ignore[no-untyped-call]
    return y


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.geometry = geometry
        return forward(x, w, geometry)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (gy,) = grads
        x, w = ctx.saved_tensors
        return (*_Derivatives.apply(gy, x, w, ctx.geometry, ctx.needs_input_grad[0]), None)  # type: ignore[no-untyped-call]


class _Derivatives(Function):
    """The derivatives by input and weight, themselves linear in gy and in either of the two."""

    @staticmethod
    def forward(
        ctx: Any, gy: Tensor, x: Tensor, w: Tensor, geometry: Geometry, by_input: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        # Without the derivative by input, this one is linear in gy, which then need not be kept.
        ctx.save_for_backward(x, *((gy, w) if by_input else ()))
        ctx.geometry = geometry
        ctx.set_materialize_grads(False)
        return _backward(gy, x, w, geometry, by_input)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        v, u = grads  # cotangents of the derivatives by input and by weight
        x, *others = ctx.saved_tensors
        geometry = ctx.geometry
        g_gy = g_x = g_w = None
        if u is not None:
            u = u.contiguous(memory_format=torch.channels_last)
            g_gy = forward(x, u, geometry)
        if others:
            gy, w = others
            if u is not None:
                g_x, _ = _backward(gy, x, u, geometry, by_weight=False)
            if v is not None:
                v = v.contiguous(memory_format=torch.channels_last)
                g_w = by_weight(gy, v, w, geometry)
                across = forward(v, w, geometry)
                g_gy = across if g_gy is None else g_gy + across
        return g_gy, g_x, g_w, None, None


def forward(x: Tensor, w: Tensor, geometry: Geometry, bias: Tensor | None = None) -> Tensor:
    """Convolve with torch's own operator, and so with autograd's own derivatives."""
    stride, padding, groups = geometry
    y: Tensor = _ops.convolution(x, w, bias, stride, padding, [1, 1], False, [0, 0], groups)
    return y


def by_weight(gy: Tensor, x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """Return the derivative by the weight, of which only the shape is used."""
    found = _backward(gy, x, w, geometry, by_input=False)[1]
    assert found is not None
    return found


def _backward(
    gy: Tensor,
    x: Tensor,
    w: Tensor,
    geometry: Geometry,
    by_input: bool = True,
    by_weight: bool = True,
) -> tuple[Tensor | None, Tensor | None]:
    """Return the derivatives by input and weight.

    Of the tensor that is differentiated by, only the shape is used.
    """
    stride, padding, groups = geometry
    wanted = [by_input, by_weight, False]
    by_x, by_w, _ = _ops.convolution_backward(
        gy, x, w, None, stride, padding, [1, 1], False, [0, 0], groups, wanted
    )
    return by_x, by_w
