"""Statistics that normalise decide whether a learner with a network is transductive."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from metabench import Learner, Support
from metabench.worker.answering import as_batched

NAMES = ["protonet", "untrained", "pretrained", "cnn-adam", "maml", "meta-sgd"]
every_learner = pytest.mark.parametrize("name", NAMES)


def answers(learner: Learner, support: Support, query_x: torch.Tensor) -> torch.Tensor:
    batched = as_batched(learner)
    return batched.predict(batched.adapt(support), query_x)


def learner_with(bn: str, name: str, trained: Any) -> Learner:
    return trained(name, backbone=f"conv4[channels=8,bn={bn}]")


@every_learner
@pytest.mark.parametrize("bn", ["support", "running", "none"])
def test_these_are_inductive(bn: str, name: str, trained: Any, episodes: Any) -> None:
    learner = learner_with(bn, name, trained)
    support, query = episodes(1, 5, 1, 6, 8)
    together = answers(learner, support, query)
    alone = torch.cat([answers(learner, support, query[:, q : q + 1]) for q in range(6)], dim=1)
    assert torch.allclose(together, alone, atol=1e-4)


@every_learner
def test_statistics_of_the_episode_are_transductive(name: str, trained: Any, episodes: Any) -> None:
    learner = learner_with("episode", name, trained)
    support, query = episodes(1, 5, 1, 6, 8)
    together = answers(learner, support, query)
    fewer = answers(learner, support, query[:, :3])
    assert (together[:, :3] - fewer).abs().max() > 1e-2


@every_learner
@pytest.mark.parametrize("bn", ["episode", "support", "running", "none"])
def test_no_task_sees_another(bn: str, name: str, trained: Any, episodes: Any) -> None:
    learner = learner_with(bn, name, trained)
    support, query = episodes(4, 5, 1, 6, 8)
    many = answers(learner, support, query)
    for t in range(4):
        one = answers(learner, Support(support.x[[t]], support.y[[t]]), query[[t]])
        assert torch.allclose(many[[t]], one, atol=1e-4)


@every_learner
def test_statistics_of_the_support_set_matter(name: str, trained: Any, episodes: Any) -> None:
    """Darker support images change what the same queries are answered, and not only by labels."""
    learner = learner_with("support", name, trained)
    support, query = episodes(1, 5, 2, 6, 8)
    darker = Support(support.x * 0.5, support.y)
    assert (answers(learner, support, query) - answers(learner, darker, query)).abs().max() > 1e-3
