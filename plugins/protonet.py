"""Prototypical networks: classify by the nearest class mean in a learned feature space.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", NeurIPS
(arXiv:1703.05175).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench import BatchedLearner, Episodes, Support, TaskSpec, class_means, squared_distances
from metabench.nets.shapes import embed


class Prototypes(BatchedLearner):
    """The nearest class mean in the feature space of a backbone, as it stands."""

    def __init__(self, task: TaskSpec, backbone: str = "conv4") -> None:
        super().__init__(task)
        self.backbone = task.backbone(backbone).eval()

    @torch.no_grad()
    def embed(self, x: Tensor) -> Tensor:
        """Images [..., *shape] -> frozen features [..., D]."""
        return embed(self.backbone, x, self.task.input_shape)

    def adapt(self, support: Support) -> Tensor:
        return class_means(Support(self.embed(support.x), support.y), self.task.way)

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -squared_distances(self.embed(query_x), state)


class ProtoNet(Prototypes):
    """The backbone is trained by episodes, so that base classes lie around their means."""

    def __init__(
        self, task: TaskSpec, backbone: str = "conv4", lr: float = 1e-3, halve_every: int = 2000
    ) -> None:
        super().__init__(task, backbone)
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, halve_every, gamma=0.5)

    def meta_step(self, episodes: Episodes) -> float:
        support, query = episodes.support, episodes.query
        shots = support.y.shape[1]
        images = torch.cat([support.x, query.x], dim=1)  # one batch: they share statistics
        self.backbone.train()
        features = embed(self.backbone, images, self.task.input_shape)
        self.backbone.eval()
        means = class_means(Support(features[:, :shots], support.y), episodes.way)
        logits = -squared_distances(features[:, shots:], means)
        loss = F.cross_entropy(logits.flatten(0, 1), query.y.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()
