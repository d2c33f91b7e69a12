"""Conv-4, the backbone that most few-shot papers share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from metabench.errors import UsageError, unknown
from metabench.nets.norms import NORMS
from metabench.nets.shapes import channels_innermost, image_shape

BLOCKS = 4
EPS = 1e-5


def conv4(
    input_shape: Sequence[int], *, channels: int = 64, pool: bool = True, bn: str = "running"
) -> nn.Sequential:
    """Build four blocks of 3x3 convolution, batch normalisation, ReLU and halving, then flatten.

    Images of 28x28 give 64 features with 2x2 max-pooling and 256 with stride-2 convolutions.
    Maps smaller than 2x2 are not halved, so that small images (8x8) work.

    Args:
        input_shape: (C, H, W) of one image.
        channels: filters of each convolution.
        pool: halve by 2x2 max-pooling; otherwise by a stride of 2.
        bn: the source of the batch-normalisation statistics: "episode" takes those of the batch
            passed, "support" those of the support set, "running" those of training (in eval
            mode). "none" normalises nothing, and only then do convolutions have a bias, which
            normalisation would cancel. See `metabench.nets.norms`.

    Returns:
        A module mapping [N, C, H, W] to [N, D].

    Raises:
        UsageError: not an image shape, no channels, or an unknown `bn`.

    References:
        Vinyals et al. 2016, Matching Networks, section 4.1.1 (arXiv:1606.04080).
    """
    inputs, height, width = image_shape("conv4", input_shape)
    if channels < 1:
        raise UsageError(f"conv4[channels={channels}]: 'channels' takes a number of at least 1")
    if bn not in NORMS:
        raise unknown("batch normalisation bn of conv4", bn, NORMS)
    norm = NORMS[bn]

    layers: list[nn.Module] = []
    for _ in range(BLOCKS):
        halve = min(height, width) >= 2
        stride = 2 if halve and not pool else 1
        layers.append(nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=norm is None))
        if norm is not None:
            layers.append(norm(channels, eps=EPS))
        layers.append(nn.ReLU())
        if halve and pool:
            layers.append(nn.MaxPool2d(2))
        if halve:  # pooling drops an odd last row and column, a stride keeps them
            height, width = (n // 2 if pool else (n + 1) // 2 for n in (height, width))
        inputs = channels
    return channels_innermost(nn.Sequential(*layers, nn.Flatten()))
