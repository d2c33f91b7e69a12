"""The common part of learners that work on the features of one backbone, shared by all tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.learner import BatchedLearner, Episodes, Support, TaskSpec
from metabench.nets.network_state import NetworkState
from metabench.nets.norms import normalises_by_task
from metabench.nets.per_task import embed, support_statistics


class EmbeddingLearner(BatchedLearner):
    """A learner on the features of a backbone, whose `bn=` says how they are normalised."""

    def __init__(self, task: TaskSpec, backbone: str = "conv4") -> None:
        super().__init__(task)
        self.backbone = task.backbone(backbone).eval()

    def embed(self, x: Tensor) -> Tensor:
        """Return the features [..., D] of examples [..., *shape], in eval mode each by itself."""
        return embed(self.backbone, x, self.task.input_shape)

    def embed_support(self, support: Support) -> tuple[Support, NetworkState]:
        """Return T support sets of features [T, S, D], and their statistics for the queries."""
        statistics = support_statistics(self.backbone, {}, support.x)
        return Support(self.embed_queries(support.x, statistics), support.y), statistics

    def embed_queries(self, x: Tensor, statistics: NetworkState) -> Tensor:
        """Return the features [T, Q, D] of queries, given the statistics of their support sets."""
        if normalises_by_task(self.backbone):
            return embed(self.backbone, x, self.task.input_shape, statistics)
        return self.embed(x)  # which the feature cache may replace

    def embed_episodes(self, episodes: Episodes) -> Episodes:
        """Return episodes of features, from the backbone in training mode.

        Support sets and queries share the statistics of one batch, unless the backbone normalises
        by task: then they are embedded as at test.
        """
        support, query = episodes.support, episodes.query
        self.backbone.train()
        if normalises_by_task(self.backbone):
            support, statistics = self.embed_support(support)
            query_x = self.embed_queries(query.x, statistics)
        else:
            both = self.embed(torch.cat([support.x, query.x], dim=1))
            shots = support.x.shape[1]
            support, query_x = Support(both[:, :shots], support.y), both[:, shots:]
        self.backbone.eval()
        return Episodes(support, Support(query_x, query.y), episodes.way)
