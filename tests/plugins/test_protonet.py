from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from harness.materials import open_digits
from torch.nn import functional as F

from metabench import Episodes, Learner, Support
from metabench.harness import state
from metabench.harness.evaluate import answer


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
    state.load_state_dict(resumed, state.state_dict(learner))
    for seed in range(3, 6):
        assert learner.meta_step(training_episodes(seed)) == resumed.meta_step(
            training_episodes(seed)
        )
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(0.25e-3)


def accuracy(learner: Learner, episodes: int = 100) -> float:
    opened = open_digits()
    test, images = opened.episodes, opened.dataset.images
    logits = answer(
        learner,
        images[test.support[:episodes]],
        test.support_y[:episodes],
        images[test.query[:episodes]],
    ).logits
    return float((logits.argmax(-1) == test.query_y[:episodes]).mean())


@pytest.mark.slow
def test_it_learns_to_tell_new_digits_apart(build: Any, trained: Any) -> None:
    floor = accuracy(build("untrained"))
    assert accuracy(trained("protonet", updates=60)) > floor + 0.05
