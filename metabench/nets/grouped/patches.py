"""Statistics of a convolution's outputs from its inputs alone.

An output is a weighted sum of a patch, so its mean and variance follow from the patches' mean
and covariance. For the first convolution of a network these depend on the images only and are the
same at every inner step, so no statistics of its large outputs are needed.

On a GPU the outputs themselves are computed from the patches, too: torch's convolution of groups
of one channel is made for something else, and takes ten times as long.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.nets.grouped.layers import Convolution


def columns(x: Tensor, layer: Convolution) -> Tensor | None:
    """Return the patches [T * N, P, H', W'] of images [T, N, C, H, W] for a first convolution.

    None if a patch has more values than the convolution has outputs.
    """
    (height, width), (down, right) = layer.conv.kernel_size, layer.conv.stride
    size = x.shape[2] * height * width
    if size > layer.conv.out_channels:
        return None
    above, left = layer.padding
    padded = F.pad(x.flatten(0, 1), (left, left, above, above))
    patches = padded.unfold(2, height, down).unfold(3, width, right)  # [.., H', W', h, w]
    down, right = patches.shape[2:4]
    return patches.permute(0, 1, 4, 5, 2, 3).reshape(-1, size, down, right)


def convolve_columns(patches: Tensor, weight: Tensor) -> Tensor:
    """Apply a first convolution as a product of matrices for each image.

    Args:
        patches: [T * N, P, H', W'], from `columns`.
        weight: [T, O, C, h, w].

    Returns:
        [T * N, O, H', W'], channels innermost.
    """
    count = len(patches) // len(weight)
    # One matrix per image and not per task: the derivative by the weight is then a product of
    # many small matrices instead of a few that are long and thin.
    filters = weight.flatten(2).unsqueeze(1).expand(-1, count, -1, -1).flatten(0, 1)
    y = torch.bmm(patches.flatten(2).mT, filters.mT)  # [T * N, H' * W', O]
    return y.view(len(y), *patches.shape[2:], -1).permute(0, 3, 1, 2)


class Patches(NamedTuple):
    """Patches of T tasks' images: their mean [T, P] and covariance [T, P, P], float64.

    `total` is the number of patches of each task.
    """

    mean: Tensor
    covariance: Tensor
    total: int

    @classmethod
    def of(cls, x: Tensor, layer: Convolution) -> Patches | None:
        """Summarise the patches that a first convolution sees of images [T, N, C, H, W].

        None if a patch has more values than the convolution has outputs: then it is faster to
        take the outputs' statistics. None for a single patch, which has no variance.
        """
        found = columns(x, layer)
        if found is None:
            return None
        patches = found.flatten(2)
        tasks, count, size = *x.shape[:2], patches.shape[1]
        total = count * patches.shape[2]
        if total == 1:
            return None
        # Within images and between them, the latter in float64: for flat images of different
        # brightness, a filter that sees only differences would have few digits left.
        means = patches.mean(2)
        patches = patches - means.unsqueeze(2)
        within = torch.bmm(patches, patches.mT).view(tasks, count, size, size) / patches.shape[2]
        means = means.view(tasks, count, size).double()
        mean = means.mean(1)
        means = means - mean.unsqueeze(1)
        between = torch.bmm(means.mT, means) / count
        return cls(mean, within.double().mean(1) + between, total)

    def statistics(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance [T, O] of outputs, for weights [T, O, ...] of a patch's size."""
        kind, weight = weight.dtype, weight.flatten(2).double()
        mean = torch.bmm(weight, self.mean.unsqueeze(2)).squeeze(2)
        # Rounding may take a tiny variance below zero.
        var = (torch.bmm(weight, self.covariance) * weight).sum(2).clamp_min(0)
        return mean.to(kind), var.to(kind)
