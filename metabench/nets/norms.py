"""Batch normalisation in the four ways that few-shot papers use it without always saying so.

Which examples the statistics come from decides what is measured: statistics of the queries
make a learner transductive, and are worth 0.5 to 2.3 points on Omniglot (Nichol, Achiam and
Schulman 2018, arXiv:1803.02999).

Source of the normalisation itself: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # of any number of dimensions

Statistics = tuple[Tensor, Tensor]  # mean and biased variance of each channel, [C] both

BUT_CHANNELS = (0, 2, 3)  # dimensions of images [N, C, H, W]


class RunningNorm(nn.BatchNorm2d):
    """By running statistics in eval mode (inductive), by the batch's own in training mode.

    A single value passes as it is: it has no variance to divide by.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return x
        normed: Tensor = super().forward(x)
        return normed


class EpisodeNorm(nn.Module):
    """By the statistics of the batch passed, in every mode: transductive on queries.

    It is written out so that no way of mapping over tasks can go wrong with it: in torch 2.13
    `grad(vmap(task))` of a task with an inner gradient is silently wrong where a convolution
    stands before `F.batch_norm` (tests/nets/test_inner_loop.py).

    Args:
        channels: C of the inputs [N, C, H, W].
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalise(x, *self.statistics(x))

    def statistics(self, x: Tensor) -> Statistics:
        """Mean and variance of a batch; those that change nothing if it is a single value."""
        if x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return torch.zeros_like(self.bias), torch.full_like(self.weight, 1 - self.eps)
        mean = x.mean(BUT_CHANNELS)
        return mean, (x - mean[:, None, None]).square().mean(BUT_CHANNELS)

    def normalise(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """[N, C, H, W] moved and scaled by statistics [C], then by weight and bias."""
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class SupportNorm(EpisodeNorm):
    """By the support set's statistics, for queries too: inductive.

    Without `mean` and `var` it normalises a batch by its own statistics: that batch is a
    support set. `support_statistics` collects what it used, and a network called with these
    as its buffers normalises queries by them.
    """

    mean: Tensor | None
    var: Tensor | None

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)
        self.register_buffer("mean", None, persistent=False)
        self.register_buffer("var", None, persistent=False)
        self.collecting = False
        self.collected: Statistics | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mean is not None and self.var is not None:
            return self.normalise(x, self.mean, self.var)
        used = self.statistics(x)
        if self.collecting:
            self.collected = used
        return self.normalise(x, *used)


NORMS: dict[str, type[nn.Module] | None] = {
    "episode": EpisodeNorm,
    "support": SupportNorm,
    "running": RunningNorm,
    "none": None,
}


def normalises_by_task(network: nn.Module) -> bool:
    """Whether outputs for one task would change if another task shared its batch (in eval mode)."""
    return any(
        isinstance(part, EpisodeNorm) or (isinstance(part, BatchNorm) and part.running_mean is None)
        for part in network.modules()
    )


def has_running_statistics(network: nn.Module) -> bool:
    """Whether batches in training mode move statistics that eval mode normalises by."""
    return any(
        isinstance(part, BatchNorm) and part.running_mean is not None for part in network.modules()
    )
