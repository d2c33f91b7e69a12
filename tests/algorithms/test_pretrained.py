from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from training_materials import digits_material, plan

from metabench import Support, TaskSpec
from metabench.nets.backbones import BACKBONES
from metabench.results.schema import MetaTraining
from metabench.suites.builtin_suites import SUITES
from metabench.suites.training_data import TrainingData
from metabench.worker.meta_training import meta_train
from metabench_plugins.pretrained import Pretrained

TRAINING_IMAGES = 813  # nine tenths of each of digits 0-4


def train(learner: Any, updates: int | None, material: TrainingData | None = None) -> MetaTraining:
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
        features = learner.embed(support.x)[t].detach()
        head = nn.Linear(64, 3).double()
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        optimizer = torch.optim.Adam(head.parameters(), 0.05)
        for _ in range(7):
            optimizer.zero_grad()
            F.cross_entropy(head(features), support.y[t]).backward()
            optimizer.step()
        assert torch.allclose(head(learner.embed(query)[t]), logits[t], atol=1e-6)


def test_any_backbone_will_do(trained: Any, episodes: Any) -> None:
    learner = trained("pretrained", backbone="conv4[channels=8,pool=false]")
    support, query = episodes(2, 5, 1, 4, 8)
    assert learner.embed(query).shape == (2, 4, 8)
    assert learner.predict(learner.adapt(support), query).shape == (2, 4, 5)


def test_for_regression_heads_start_from_the_pretrained_one() -> None:
    """The batched heads equal the pretrained `nn.Linear`, trained on in a plain loop."""
    backbones = {b.name: b for b in BACKBONES}
    spec = TaskSpec((1,), way=1, shot=5, kind="regression", backbones=backbones)
    learner = Pretrained(spec, backbone="mlp", finetune_steps=7, finetune_lr=0.05)
    g = torch.Generator().manual_seed(0)
    support = Support(torch.rand(3, 5, 1, generator=g), torch.rand(3, 5, 1, generator=g))
    query = torch.rand(3, 6, 1, generator=g)
    values = learner.predict(learner.adapt(support), query)
    for t in range(3):
        head = copy.deepcopy(learner.head)
        optimizer = torch.optim.Adam(head.parameters(), 0.05)  # type: ignore[union-attr]
        features = learner.embed(support.x)[t].detach()
        for _ in range(7):
            optimizer.zero_grad()
            F.mse_loss(head(features), support.y[t]).backward()  # type: ignore[misc]
            optimizer.step()
        expected = head(learner.embed(query)[t])  # type: ignore[misc]
        assert torch.allclose(values[t], expected, atol=1e-5)


@pytest.mark.slow
def test_for_regression_the_error_on_held_out_points_falls() -> None:
    material = next(s for s in SUITES if s.name == "sinusoid-5s").open().material
    assert material is not None
    spec = TaskSpec(
        (1,), way=1, shot=5, kind="regression", backbones={b.name: b for b in BACKBONES}
    )
    trained = train(Pretrained(spec, backbone="mlp"), updates=2500, material=material)
    assert [point.update for point in trained.curve] == [1000, 2000, 2500]
    errors = [point.values["error"] or 0.0 for point in trained.curve]
    assert errors[-1] < errors[0] < 5
