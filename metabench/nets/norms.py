"""Four variants of batch normalisation, which few-shot papers use without always naming them.

The source of the statistics decides what is measured: statistics of the queries make a learner
transductive, and are worth 0.5 to 2.3 points on Omniglot (Nichol, Achiam and Schulman 2018,
arXiv:1803.02999).

References:
    Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithm 1: the normalisation itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm  # of any number of dimensions

Statistics = tuple[Tensor, Tensor]  # mean and biased variance of each channel, [C] both

BUT_CHANNELS = (0, 2, 3)  # dimensions of images [N, C, H, W]


class RunningNorm(nn.BatchNorm2d):
    """Normalisation by running statistics in eval mode (inductive), by the batch's in training.

    A single value passes unchanged: it has no variance to divide by.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return x
        normed: Tensor = super().forward(x)
        return normed


class EpisodeNorm(nn.Module):
    """Normalisation by the statistics of the batch passed, in every mode: transductive on queries.

    It is written out so that any mapping over tasks is right: in torch 2.13 `grad(vmap(task))` of
    a task with an inner gradient is silently wrong if a convolution comes before `F.batch_norm`
    (tests/nets/test_inner_loop.py).

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
        """Return mean and variance of a batch; those of a single value change nothing."""
        if x.shape[0] * x.shape[2] * x.shape[3] == 1:
            return torch.zeros_like(self.bias), torch.full_like(self.weight, 1 - self.eps)
        mean = x.mean(BUT_CHANNELS)
        return mean, (x - mean[:, None, None]).square().mean(BUT_CHANNELS)

    def normalise(self, x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        """Shift and scale [N, C, H, W] by statistics [C], then by weight and bias."""
        scale = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]


class SupportNorm(EpisodeNorm):
    """Normalisation by the support set's statistics, for queries too: inductive.

    Without `mean` and `var` it normalises a batch, which is then a support set, by its own
    statistics. `support_statistics` collects these, and a network called with them as its
    buffers normalises queries by them.
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
    """Return whether a task's outputs change if another task shares its batch (in eval mode)."""
    return any(
        isinstance(part, EpisodeNorm) or (isinstance(part, BatchNorm) and part.running_mean is None)
        for part in network.modules()
    )


def may_keep_statistics(network: nn.Module) -> bool:
    """Return whether batches in training mode may move statistics that eval mode normalises by.

    Any layer with buffers may keep some: torch's instance normalisation, or a plugin's own layer.
    """
    return next(network.buffers(), None) is not None
