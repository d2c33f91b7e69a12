from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from metabench import Support


@pytest.mark.parametrize("way", [2, 5, 20])
def test_chance_is_right_once_in_way(way: int, build: Any) -> None:
    learner = build("chance", way=way)
    query = torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = learner.predict(None, query)
    share = torch.bincount(logits.argmax(1), minlength=way) / len(query)
    error = (1 / way * (1 - 1 / way) / len(query)) ** 0.5
    assert ((share - 1 / way).abs() < 4 * error).all()


def test_chance_depends_on_the_seed_and_the_image_alone(build: Any) -> None:
    query = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, again, other = (build("chance", seed=s).predict(None, query) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    twins = build("chance").predict(None, query[:1].expand(3, 1, 8, 8))
    assert torch.equal(twins, twins[:1].expand_as(twins))


def test_chance_knows_nothing_of_the_labels(build: Any, episodes: Any) -> None:
    support, query = episodes(1, 5, 1, 10, 8)
    learner = build("chance")
    shuffled = Support(support.x[0], support.y[0].flip(0))
    answers = [
        learner.predict(learner.adapt(s), query[0])
        for s in (Support(support.x[0], support.y[0]), shuffled)
    ]
    assert torch.equal(*answers)


@pytest.mark.parametrize(("way", "shot", "size"), [(5, 1, 8), (5, 5, 28), (20, 3, 8)])
def test_nearest_neighbour_equals_scikit_learn(
    way: int, shot: int, size: int, build: Any, episodes: Any
) -> None:
    support, query = episodes(3, way, shot, 30, size)
    learner = build("pixel-1nn", way=way, shot=shot, size=size)
    logits = learner.predict(learner.adapt(support), query)
    for t in range(3):
        neighbours = KNeighborsClassifier(1, algorithm="brute")
        neighbours.fit(support.x[t].flatten(1).numpy(), support.y[t].numpy())
        expected = neighbours.predict(query[t].flatten(1).numpy())
        assert np.array_equal(logits[t].argmax(1).numpy(), expected)


def test_nearest_neighbour_finds_each_support_image_itself(build: Any, episodes: Any) -> None:
    support, _ = episodes(2, 5, 5, 1, 8)
    learner = build("pixel-1nn", shot=5)
    logits = learner.predict(learner.adapt(support), support.x)
    assert torch.equal(logits.argmax(2), support.y)
    assert logits.amax(2).abs().max() < 1e-4


def test_untrained_is_protonet_before_its_first_update(build: Any, episodes: Any) -> None:
    support, query = episodes(2, 5, 1, 6, 8)
    floor, protonet = build("untrained"), build("protonet")
    assert not hasattr(floor, "meta_step")
    expected = protonet.predict(protonet.adapt(support), query)
    assert torch.equal(floor.predict(floor.adapt(support), query), expected)
