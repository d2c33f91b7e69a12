from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from harness.materials import digits_material, plan
from torch import nn
from torch.nn import functional as F

from metabench import Support
from metabench.harness.outer_loop import meta_train
from metabench.results.schema import MetaTraining
from metabench.suites.material import Material

TRAINING_IMAGES = 813  # nine tenths of each of digits 0-4


def train(learner: Any, updates: int | None, material: Material | None = None) -> MetaTraining:
    material = digits_material() if material is None else material
    return meta_train(learner, material, plan(updates=updates), lambda fraction, values: None)


def test_held_out_accuracy_is_recorded_after_each_epoch_and_at_the_end(build: Any) -> None:
    trained = train(build("pretrained", batch_size=200, backbone="cnn"), updates=12)
    assert [point.update for point in trained.curve] == [5, 10, 12]
    assert all(set(point.values) == {"loss", "accuracy"} for point in trained.curve)


def test_epochs_take_the_place_of_the_budget(build: Any) -> None:
    learner = build("pretrained", batch_size=200, backbone="cnn", epochs=2)
    trained = train(learner, updates=3)
    assert trained.images == 2 * TRAINING_IMAGES
    assert [point.update for point in trained.curve] == [5, 10]


@pytest.mark.slow
def test_held_out_accuracy_rises(build: Any) -> None:
    trained = train(build("pretrained", lr=3e-4), updates=35)
    accuracies = [point.values["accuracy"] or 0.0 for point in trained.curve]
    assert len(accuracies) == 5
    assert accuracies[-1] > 0.9 > accuracies[0] + 0.1


def test_classes_too_small_to_hold_any_out_have_no_accuracy(build: Any) -> None:
    material = digits_material()
    few = np.concatenate([np.flatnonzero(material.labels == c)[:4] for c in range(5)])
    small = dataclasses.replace(material, images=material.images[few], labels=material.labels[few])
    trained = train(build("pretrained"), updates=1, material=small)
    assert trained.curve[-1].values["accuracy"] is None


def test_a_new_head_is_trained_on_frozen_features(build: Any, episodes: Any) -> None:
    """The batched heads equal one `nn.Linear` a task, trained in a plain loop."""
    learner = build("pretrained", way=3, shot=2, finetune_steps=7, finetune_lr=0.05)
    learner.backbone.double()
    support, query = episodes(3, 3, 2, 5, 8)
    support, query = Support(support.x.double(), support.y), query.double()
    logits = learner.predict(learner.adapt(support), query)
    for t in range(3):
        features = learner.features(support.x, {})[t]
        head = nn.Linear(64, 3).double()
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        optimizer = torch.optim.Adam(head.parameters(), 0.05)
        for _ in range(7):
            optimizer.zero_grad()
            F.cross_entropy(head(features), support.y[t]).backward()
            optimizer.step()
        assert torch.allclose(head(learner.features(query, {})[t]), logits[t], atol=1e-6)


def test_any_backbone_will_do(trained: Any, episodes: Any) -> None:
    learner = trained("pretrained", backbone="conv4[channels=8,pool=false]")
    support, query = episodes(2, 5, 1, 4, 8)
    assert learner.features(query, {}).shape == (2, 4, 8)
    assert learner.predict(learner.adapt(support), query).shape == (2, 4, 5)
