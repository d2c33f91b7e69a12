"""Prototypical networks: classification by the nearest prototype in a learned embedding space.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", NeurIPS
(arXiv:1703.05175).

The prototype c_k of class k is the mean of its embedded support points f_phi(x) (equation 1). The
probability of class k is a softmax over the negative distances of an embedded query to the
prototypes (equation 2); here the distance is squared Euclidean.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench import BatchedLearner, Episodes, Support, TaskSpec, class_means, squared_distances
from metabench.nets.norms import normalises_by_task
from metabench.nets.per_task import NetworkState, embed, support_statistics


class Prototypes(BatchedLearner):
    """A classifier by the nearest prototype c_k, in the embedding space of a backbone f_phi."""

    def __init__(self, task: TaskSpec, backbone: str = "conv4") -> None:
        super().__init__(task)
        self.backbone = task.backbone(backbone).eval()

    @torch.no_grad()
    def adapt(self, support: Support) -> tuple[Tensor, NetworkState]:
        """Return the prototypes c_k [T, way, D] (equation 1), and the support sets' statistics."""
        statistics = support_statistics(self.backbone, {}, support.x)
        features = self.features(support.x, statistics)
        return class_means(Support(features, support.y), self.task.way), statistics

    @torch.no_grad()
    def predict(self, state: tuple[Tensor, NetworkState], query_x: Tensor) -> Tensor:
        """Return the logits of equation 2: the negative squared distances of f_phi(x) to c_k."""
        means, statistics = state
        return -squared_distances(self.features(query_x, statistics), means)

    def features(self, x: Tensor, statistics: NetworkState) -> Tensor:
        """Return the features f_phi(x) [T, N, D] of images [T, N, *shape]."""
        if normalises_by_task(self.backbone):
            return embed(self.backbone, x, self.task.input_shape, statistics)
        return self.embed(x)

    def embed(self, x: Tensor) -> Tensor:
        """Return the features [..., D] of images [..., *shape], each from its image alone."""
        return embed(self.backbone, x, self.task.input_shape)


class ProtoNet(Prototypes):
    """Prototypical networks: the embedding f_phi is trained on episodes (section 2.2).

    Adam's learning rate is halved every `halve_every` updates, as in section 3.1.
    """

    def __init__(
        self, task: TaskSpec, backbone: str = "conv4", lr: float = 1e-3, halve_every: int = 2000
    ) -> None:
        super().__init__(task, backbone)
        self.optimizer = torch.optim.Adam(self.backbone.parameters(), lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, halve_every, gamma=0.5)

    def meta_step(self, episodes: Episodes) -> float:
        """Update phi once, by the mean over queries of J(phi) = -log p_phi(y = k | x)."""
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
        """Return the features of the support sets and of the queries."""
        support_x, query_x = episodes.support.x, episodes.query.x
        if normalises_by_task(self.backbone):  # as at test
            statistics = support_statistics(self.backbone, {}, support_x)
            return self.features(support_x, statistics), self.features(query_x, statistics)
        both = self.features(torch.cat([support_x, query_x], dim=1), {})  # they share statistics
        shots = support_x.shape[1]
        return both[:, :shots], both[:, shots:]
