"""Conv-4 as users of other libraries write it, with our weights."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.setting import Setting


def conv4(
    setting: Setting, ours: nn.Module, *, running: bool = False, head: bool = True
) -> nn.Sequential:
    """Build the network from torch's layers, with the state of our network.

    Args:
        setting: the case.
        ours: a network of the same layers in the same order.
        running: normalise by running statistics in eval mode, not by the batch.
        head: add a linear layer.
    """
    layers: list[nn.Module] = []
    inputs, side = 1, setting.side
    for _ in range(4):
        layers += [
            nn.Conv2d(inputs, setting.channels, 3, padding=1, bias=False),  # as ours has none
            nn.BatchNorm2d(setting.channels, track_running_stats=running),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        inputs, side = setting.channels, side // 2
    layers.append(nn.Flatten())
    if head:
        layers.append(nn.Linear(inputs * side**2, setting.way))
    network = nn.Sequential(*layers).to(setting.device, setting.dtype)
    theirs, own = network.state_dict(), ours.state_dict()
    with torch.no_grad():
        for value, start in zip(theirs.values(), own.values(), strict=True):
            if value.shape != start.shape:
                raise ValueError(f"{tuple(start.shape)} where the peer has {tuple(value.shape)}")
            value.copy_(start)
    return network
