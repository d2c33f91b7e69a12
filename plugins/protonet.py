"""Prototypical networks: classification by the nearest prototype in a learned embedding space.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", NeurIPS
(arXiv:1703.05175).

The prototype c_k of class k is the mean of its embedded support points f_phi(x) (equation 1). The
probability of class k is a softmax over the negative distances of an embedded query to the
prototypes (equation 2); here the distance is squared Euclidean.

Where the backbone normalises by statistics of the support set, they go with the prototypes;
otherwise they are empty.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench import Episodes, Support, TaskSpec, class_means, squared_distances
from metabench.nets.embedding_learner import EmbeddingLearner
from metabench.nets.per_task import NetworkState


class Prototypes(EmbeddingLearner):
    """A classifier by the nearest prototype c_k, in the embedding space of a backbone f_phi."""

    @torch.no_grad()
    def adapt(self, support: Support) -> tuple[Tensor, NetworkState]:
        """Return the prototypes c_k [T, way, D] (equation 1), and the support sets' statistics."""
        embedded, statistics = self.embed_support(support)
        return class_means(embedded, self.task.way), statistics

    @torch.no_grad()
    def predict(self, state: tuple[Tensor, NetworkState], query_x: Tensor) -> Tensor:
        """Return the logits of equation 2: the negative squared distances of f_phi(x) to c_k."""
        prototypes, statistics = state
        return -squared_distances(self.embed_queries(query_x, statistics), prototypes)


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
        """Take one optimiser step on the mean of J(phi) = -log p_phi(y = k | x) (algorithm 1)."""
        embedded = self.embed_episodes(episodes)
        prototypes = class_means(embedded.support, embedded.way)
        logits = -squared_distances(embedded.query.x, prototypes)
        loss = F.cross_entropy(logits.flatten(0, 1), embedded.query.y.flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return loss.item()
