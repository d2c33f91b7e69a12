"""Features of episodes, compared with one call of the backbone for each task."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from nets import plain
from torch import Tensor

from metabench import Support, TaskSpec
from metabench.nets.backbones import BACKBONES
from metabench.nets.embedding_learner import EmbeddingLearner
from metabench.nets.norms import NORMS

every_norm = pytest.mark.parametrize("bn", list(NORMS))


class Embedding(EmbeddingLearner):
    def adapt(self, support: Support) -> Any:
        return self.embed_support(support)

    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        return self.embed_queries(query_x, state[1])


def build(bn: str) -> Embedding:
    task = TaskSpec((1, 8, 8), way=3, shot=2, backbones={b.name: b for b in BACKBONES})
    learner = Embedding(task)
    learner.backbone = plain.small_network(bn)[0]  # type: ignore[assignment]
    return learner


@every_norm
def test_queries_are_normalised_by_their_support_sets(bn: str) -> None:
    learner, episodes = build(bn), plain.small_episodes(bn)
    embedded, statistics = learner.adapt(episodes.support)
    queries = learner.predict((embedded, statistics), episodes.query.x)
    assert bool(statistics) == (bn == "support")
    assert embedded.y is episodes.support.y
    network: Any = learner.backbone
    params = dict(network.named_parameters())
    for t, (support, query) in enumerate(episodes):
        features, used = plain.forward(network, params, support.x)
        assert torch.allclose(embedded.x[t], features, rtol=1e-10, atol=1e-12)
        features, _ = plain.forward(network, params, query.x, used)
        assert torch.allclose(queries[t], features, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("bn", ["episode", "support"])
def test_tasks_are_trained_as_they_are_tested_if_each_has_its_statistics(bn: str) -> None:
    learner, episodes = build(bn), plain.small_episodes(bn)
    support, statistics = learner.embed_support(episodes.support)
    query_x = learner.embed_queries(episodes.query.x, statistics)
    embedded = learner.embed_episodes(episodes)
    assert embedded.way == episodes.way
    assert torch.equal(embedded.support.x, support.x)
    assert torch.equal(embedded.query.x, query_x)
    assert embedded.query.y is episodes.query.y


@pytest.mark.parametrize("bn", ["running", "none"])
def test_otherwise_all_examples_of_an_update_are_one_batch(bn: str) -> None:
    learner, episodes = build(bn), plain.small_episodes(bn)
    network = copy.deepcopy(learner.backbone).train()
    batch = torch.cat([episodes.support.x, episodes.query.x], dim=1).flatten(0, 1)
    expected = network(batch).unflatten(0, (3, -1))
    embedded = learner.embed_episodes(episodes)
    both = torch.cat([embedded.support.x, embedded.query.x], dim=1)
    assert torch.allclose(both, expected, rtol=1e-10, atol=1e-12)
    assert embedded.support.x.shape[1] == episodes.support.x.shape[1]
    assert both.requires_grad
    assert not learner.backbone.training
