"""Shapes of backbones: their inputs, their memory layout, the width of their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metabench.errors import NotApplicable


def image_shape(backbone: str, shape: Sequence[int], smallest: int = 1) -> tuple[int, int, int]:
    """Read an input shape as (channels, height, width).

    Args:
        backbone: name of the backbone, for the message.
        shape: shape of one example.
        smallest: the least height and width that the backbone takes.

    Raises:
        NotApplicable: examples are not images, or the images are too small.
    """
    if len(shape) != 3:
        raise NotApplicable(
            f"backbone {backbone} takes images (channels, height, width), not examples of shape "
            f"{tuple(shape)}: choose another backbone or suite"
        )
    channels, height, width = shape
    if min(height, width) < smallest:
        raise NotApplicable(
            f"backbone {backbone} takes images of at least {smallest}x{smallest}, not "
            f"{height}x{width}: choose another backbone or suite"
        )
    return channels, height, width


def channels_innermost(network: nn.Sequential) -> nn.Sequential:
    """Lay out convolution weights with channels innermost; outputs are the same.

    On CPUs convolutions of many channels are then 1.5 to 2 times as fast.
    """
    return network.to(memory_format=torch.channels_last)  # type: ignore[no-any-return, call-overload]


def out_features(module: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the number of features that a backbone gives for one example."""
    return _try_blank(module, input_shape).flatten(1).shape[1]


def activation_bytes(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Return the bytes of the outputs of all layers of a network, for one example."""
    given = 0

    def count(layer: nn.Module, inputs: object, output: object) -> None:
        nonlocal given
        if isinstance(output, Tensor):
            given += output.nbytes

    layers = [part for part in network.modules() if next(part.children(), None) is None]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        _try_blank(network, input_shape)
    finally:
        for hook in hooks:
            hook.remove()
    return given


@torch.no_grad()
def _try_blank(module: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """Return a module's output for one blank example.

    It runs on its own device and in eval mode, so that its statistics do not change. Every part
    then returns to its own mode.
    """
    modes = [(part, part.training) for part in module.modules()]
    anchor = next(module.parameters(), torch.empty(0))
    blank = torch.zeros(1, *input_shape, dtype=anchor.dtype, device=anchor.device)
    try:
        output: Tensor = module.eval()(blank)
    finally:
        for part, training in modes:
            part.training = training
    return output
