"""MAML as users of other libraries write it: tasks one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from benchmarks.ours import Ours
from benchmarks.peers.network import conv4
from benchmarks.setting import Setting
from metabench import Episodes, Support

META_LR = 1e-3  # Adam's in our learners, too


class PerTask(ABC):
    """A contender with a network of torch's own layers and our weights.

    Attributes:
        network: adapted to each task.
        rates: for Meta-SGD a step size for each parameter, otherwise empty.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        learner = Ours(setting).learner
        self.network = conv4(setting, learner.network)
        self.rates = [nn.Parameter(rate.detach().clone()) for rate in learner.rates]
        self.optimizer = torch.optim.Adam(self.parameters(), META_LR)

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that `meta_step` updates: the network's, then the step sizes."""
        return [*self.network.parameters(), *self.rates]

    def meta_step(self, episodes: Episodes) -> float:
        """Do one outer update."""
        self.optimizer.zero_grad()
        losses = [self.backward(support, query, 1 / len(episodes)) for support, query in episodes]
        self.optimizer.step()
        return sum(losses)

    def answer(self, episodes: Episodes) -> Tensor:
        """Adapt to each support set and predict the queries, [T, Q, way]."""
        return torch.stack([self.logits(support, query.x) for support, query in episodes])

    @abstractmethod
    def backward(self, support: Support, query: Support, share: float) -> float:
        """Add a task's share to the meta-gradient; return its share of the loss."""

    @abstractmethod
    def logits(self, support: Support, query_x: Tensor) -> Tensor:
        """Adapt to one task and predict its queries."""
