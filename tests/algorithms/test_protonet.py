from __future__ import annotations

import copy
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from training_materials import open_digits, plan

from metabench import Episodes, Learner, Support
from metabench.results.schema import MetaTraining, Training
from metabench.suites.builtin_suites import SUITES
from metabench.suites.open_suite import OpenSuite
from metabench.worker import learner_state
from metabench.worker.answering import answer
from metabench.worker.meta_training import meta_train


def training_episodes(seed: int, tasks: int = 2, way: int = 4, shot: int = 2) -> Episodes:
    generator = torch.Generator().manual_seed(seed)

    def examples(each: int) -> Support:
        x = torch.rand(tasks, way * each, 1, 8, 8, generator=generator)
        return Support(x, torch.arange(way).repeat(tasks, each))

    return Episodes(examples(shot), examples(3), way)


def test_the_loss_is_that_of_the_paper(build: Any) -> None:
    """Equations 1 and 2, task by task and class by class."""
    learner = build("protonet")
    episodes = training_episodes(0)
    network = copy.deepcopy(learner.backbone).train()
    everything = torch.cat([episodes.support.x, episodes.query.x], 1).flatten(0, 1)
    features = network(everything).unflatten(0, (2, -1))
    losses = []
    for t, task in enumerate(episodes):
        z, queries = features[t, :8], features[t, 8:]
        means = [z[task.support.y == c].mean(0) for c in range(4)]
        for q, label in zip(queries, task.query.y, strict=True):
            logits = torch.stack([-(q - mean).square().sum() for mean in means])
            losses.append(F.cross_entropy(logits, label))
    expected = torch.stack(losses).mean()
    assert learner.meta_step(episodes) == pytest.approx(expected.item(), rel=1e-4)


def test_a_step_is_adam_on_that_loss(build: Any) -> None:
    learner = build("protonet", lr=0.01)
    before = [p.detach().clone() for p in learner.backbone.parameters()]
    learner.meta_step(training_episodes(0))
    moved = [
        (p - b).abs().max().item()
        for p, b in zip(learner.backbone.parameters(), before, strict=True)
    ]
    # Adam's first step is its rate for whatever has a gradient.
    assert all(m == pytest.approx(0.01, rel=0.01) for m in moved)


def test_running_statistics_follow_training(build: Any) -> None:
    learner = build("protonet")
    norm = learner.backbone[1]
    learner.meta_step(training_episodes(0))
    assert norm.num_batches_tracked == 1
    assert norm.running_mean.any()


def test_the_rate_is_halved(build: Any) -> None:
    learner = build("protonet", lr=0.08, halve_every=2)
    rates = []
    for seed in range(5):
        rates.append(learner.optimizer.param_groups[0]["lr"])
        learner.meta_step(training_episodes(seed))
    assert rates == pytest.approx([0.08, 0.08, 0.04, 0.04, 0.02])


def test_training_resumes_where_it_stopped(build: Any) -> None:
    learner = build("protonet", halve_every=3)
    for seed in range(3):
        learner.meta_step(training_episodes(seed))
    resumed = build("protonet", halve_every=3, seed=9)
    learner_state.load_state_dict(resumed, learner_state.state_dict(learner))
    for seed in range(3, 6):
        assert learner.meta_step(training_episodes(seed)) == resumed.meta_step(
            training_episodes(seed)
        )
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(0.25e-3)


def train(learner: Learner, opened: OpenSuite, updates: int, way: int) -> MetaTraining:
    shape = Training(way=way, shot=1, query=5, tasks_per_step=1)
    assert opened.material is not None
    budget = msgspec.structs.replace(
        plan(updates=updates), training=shape, validation_episodes=1, validation_shape=(5, 1, 15)
    )
    return meta_train(learner, opened.material, budget, lambda fraction, values: None)


def test_training_lowers_the_loss(build: Any) -> None:
    curve = train(build("protonet"), open_digits(), updates=50, way=5).curve
    losses = [point.values["loss"] or 0.0 for point in curve]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_it_learns_to_distinguish_characters_of_other_scripts(build: Any) -> None:
    opened = next(suite for suite in SUITES if suite.name == "glyphs-5w1s").open()
    test, images = opened.episodes, opened.dataset.images

    def accuracy(learner: Learner, episodes: int = 30) -> float:
        right = 0.0
        for e in range(episodes):
            one = slice(e, e + 1)
            answered = answer(
                learner, images[test.support[one]], test.support_y[one], images[test.query[one]]
            )
            right += np.mean(answered.argmax(-1) == test.query_y[one])
        return right / episodes

    learner = build("protonet", size=28)
    train(learner, opened, updates=120, way=20)
    floors = [accuracy(build(name, size=28)) for name in ("untrained", "pixel-1nn")]
    assert accuracy(learner) > max(floors) + 0.1
