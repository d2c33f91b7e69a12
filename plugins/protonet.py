"""Prototypical networks: classify by the nearest class mean in a learned feature space.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", NeurIPS
(arXiv:1703.05175).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench import BatchedLearner, Episodes, Support, TaskSpec, class_means, squared_distances
from metabench.nets.norms import normalises_by_task
from metabench.nets.per_task import NetworkState, embed, support_statistics


class Prototypes(BatchedLearner):
    """The nearest class mean in the feature space of a backbone, as it stands."""

    def __init__(self, task: TaskSpec, backbone: str = "conv4") -> None:
        super().__init__(task)
        self.backbone = task.backbone(backbone).eval()

    @torch.no_grad()
    def adapt(self, support: Support) -> tuple[Tensor, NetworkState]:
        statistics = support_statistics(self.backbone, {}, support.x)
        features = self.features(support.x, statistics)
        return class_means(Support(features, support.y), self.task.way), statistics

    @torch.no_grad()
    def predict(self, state: tuple[Tensor, NetworkState], query_x: Tensor) -> Tensor:
        means, statistics = state
        return -squared_distances(self.features(query_x, statistics), means)

    def features(self, x: Tensor, statistics: NetworkState) -> Tensor:
        """Images [T, N, *shape] -> features [T, N, D]."""
        if normalises_by_task(self.backbone):
            return embed(self.backbone, x, self.task.input_shape, statistics)
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Images [..., *shape] -> features [..., D], of each image alone."""
        return embed(self.backbone, x, self.task.input_shape)


class ProtoNet(Prototypes):
    """The backbone is trained by episodes, so that base classes lie around their means."""

    def __init__(
        self, task: TaskSpec, backbone: str = "conv4", lr: float = 1e-3, halve_every: int = 2000
    ) -> None:
        super().__init__(task, backbone)
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, halve_every, gamma=0.5)

    def meta_step(self, episodes: Episodes) -> float:
        self.backbone.train()
        support, query = self._training_features(episodes)
        self.backbone.eval()
        means = class_means(Support(support, episodes.support.y), episodes.way)
        logits = -squared_distances(query, means)
        loss = F.cross_entropy(logits.flatten(0, 1), episodes.query.y.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def _training_features(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """Features of the support sets and of the queries."""
        support_x, query_x = episodes.support.x, episodes.query.x
        if normalises_by_task(self.backbone):  # as at test
            statistics = support_statistics(self.backbone, {}, support_x)
            return self.features(support_x, statistics), self.features(query_x, statistics)
        both = self.features(torch.cat([support_x, query_x], dim=1), {})  # they share statistics
        shots = support_x.shape[1]
        return both[:, :shots], both[:, shots:]
