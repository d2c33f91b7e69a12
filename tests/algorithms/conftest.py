"""Built-in learners on digits: as they come, or meta-trained by the harness."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from training_materials import digits_material, open_digits
from training_materials import plan as make_plan

import metabench_plugins
from metabench.learner import Learner, Support, TaskSpec, load
from metabench.nets.backbones import BACKBONES
from metabench.suites.protocol import BySplit
from metabench.suites.training_data import TrainingData
from metabench.worker.meta_training import meta_train, meta_trained

ALGORITHMS = {a.name: a for a in metabench_plugins.metabench_algorithms()}

Build = Callable[..., Learner]


def material_of(size: int) -> TrainingData:
    """Digits, enlarged from 8x8 to 28x28 on request."""
    if size == 8:
        return digits_material()
    dataset = open_digits().dataset
    enlarged = np.pad(dataset.images.repeat(3, 2).repeat(3, 3), [(0, 0), (0, 0), (2, 2), (2, 2)])
    dataset = dataclasses.replace(dataset, images=enlarged)
    return TrainingData.of(dataset, "test", BySplit().pools(dataset))


@pytest.fixture
def build() -> Build:
    """`build(name, way=5, shot=1, size=8, seed=0, **params)`: a learner as it comes."""

    def make(
        name: str, way: int = 5, shot: int = 1, size: int = 8, seed: int = 0, **params: object
    ) -> Learner:
        backbones = {b.name: b for b in BACKBONES}
        task = TaskSpec((1, size, size), way=way, shot=shot, seed=seed, backbones=backbones)
        learner: Learner = load(ALGORITHMS[name].build)(task, **params)
        return learner

    return make


@pytest.fixture
def trained(build: Build) -> Build:
    """As `build`, then meta-trained by the harness for `updates`."""

    def make(name: str, updates: int = 2, size: int = 8, **settings: object) -> Learner:
        learner = build(name, size=size, **settings)
        if meta_trained(learner):
            way = settings.get("way", 5)
            plan = make_plan(updates=updates, tasks_per_step=1, way=min(3, way))  # type: ignore[call-overload]
            meta_train(learner, material_of(size), plan, lambda fraction, values: None)
        return learner

    return make


def random_episodes(
    tasks: int, way: int, shot: int, queries: int, size: int, seed: int = 0
) -> tuple[Support, Tensor]:
    """T support sets with shuffled labels, and queries [T, queries, 1, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(tasks, way * shot, 1, size, size, generator=generator)
    order = [torch.randperm(way * shot, generator=generator) % way for _ in range(tasks)]
    query = torch.rand(tasks, queries, 1, size, size, generator=generator)
    return Support(x, torch.stack(order)), query


@pytest.fixture
def episodes() -> Callable[..., tuple[Support, Tensor]]:
    return random_episodes
