from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from training_materials import open_digits

from metabench import Support
from metabench.worker.answering import answer


def one(episodes: tuple[Support, torch.Tensor]) -> tuple[Support, torch.Tensor]:
    support, query = episodes
    return Support(support.x[0], support.y[0]), query[0]


@pytest.mark.parametrize("backbone", ["cnn", "conv4"])
def test_it_is_adam_on_the_whole_support_set(backbone: str, build: Any, episodes: Any) -> None:
    learner = build("cnn-adam", backbone=backbone, lr=0.002, steps=4)
    learner.model.double()
    support, query = one(episodes(1, 5, 1, 6, 8))
    support, query = Support(support.x.double(), support.y), query.double()
    model = copy.deepcopy(learner.model).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(support.x), support.y).backward()
        optimizer.step()
    expected = model.eval()(query)
    assert torch.allclose(learner.predict(learner.adapt(support), query), expected, atol=1e-6)


def test_it_fits_its_support_set(build: Any, episodes: Any) -> None:
    support, _ = one(episodes(1, 5, 5, 1, 8))
    learner = build("cnn-adam", shot=5, steps=60)
    logits = learner.predict(learner.adapt(support), support.x)
    assert torch.equal(logits.argmax(1), support.y)


def test_each_seed_starts_from_another_network(build: Any, episodes: Any) -> None:
    support, query = one(episodes(1, 5, 1, 6, 8))
    learners = [build("cnn-adam", seed=seed) for seed in (0, 0, 1)]
    first, again, other = (ln.predict(ln.adapt(support), query) for ln in learners)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_new_digits_are_distinguished(build: Any) -> None:
    opened = open_digits()
    test, images = opened.episodes, opened.dataset.images
    learner = build("cnn-adam")
    logits = answer(
        learner, images[test.support[:30]], test.support_y[:30], images[test.query[:30]]
    )
    assert np.mean(logits.argmax(-1) == test.query_y[:30]) > 0.5
