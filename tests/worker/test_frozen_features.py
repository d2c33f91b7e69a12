"""Kept features give the scores that a learner has without them, or none are kept."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from training_materials import SHAPE, open_digits, task

from metabench import BatchedLearner, Learner, Support, class_means, squared_distances
from metabench.cell.commands import batch
from metabench.cell.messages import Batch, Outputs
from metabench.cell.probe import probe
from metabench.cell.scoring import score
from metabench.learner import TaskSpec
from metabench.results.schema import Scores
from metabench.worker.session import Session

EPISODES = 60
PER_BATCH = 1024 // 80
BATCHES = -(-EPISODES // PER_BATCH)


class Frozen(Learner):
    """Nearest class mean behind a fixed convolution."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        torch.manual_seed(task.seed)
        self.network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten())
        self.embedded = 0

    @torch.no_grad()
    def adapt(self, support: Support) -> Tensor:
        return class_means(Support(self.embed(support.x), support.y))

    @torch.no_grad()
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -squared_distances(self.embed(query_x), state)

    def embed(self, x: Tensor) -> Tensor:
        self.embedded += len(x)
        features: Tensor = self.network(x)
        return features


class BatchedFrozen(Frozen, BatchedLearner):
    def embed(self, x: Tensor) -> Tensor:
        return super().embed(x.reshape(-1, *SHAPE)).reshape(*x.shape[:-3], -1)


class NormalisesByBatch(Frozen):
    def embed(self, x: Tensor) -> Tensor:
        features = super().embed(x)
        return features - features.mean(0)


class TrainsAtTest(Frozen):
    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        logits = super().predict(state, query_x)
        for parameter in self.network.parameters():
            parameter.data.mul_(1.01)
        return logits


class TrainsLater(Frozen):
    """Once it has seen what the first two batches hold."""

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.tasks = 0

    def adapt(self, support: Support) -> Tensor:
        self.tasks += 1
        if self.tasks > 3 * PER_BATCH:
            self.network[0].weight.data.mul_(0.9)
        return super().adapt(support)


class AdaptsItsNetwork(Frozen):
    """In place, and back when the task is done."""

    def adapt(self, support: Support) -> tuple[Tensor, Tensor]:
        moved = self.network[0].weight.data * (1 + support.x.mean())
        return super().adapt(support), moved

    def predict(self, state: Any, query_x: Tensor) -> Tensor:
        means, moved = state
        before, self.network[0].weight.data = self.network[0].weight.data, moved
        logits = super().predict(means, query_x)
        self.network[0].weight.data = before
        return logits


class FailsOnManyImages(Frozen):
    def embed(self, x: Tensor) -> Tensor:
        if len(x) > 100:
            raise MemoryError
        return super().embed(x)


class HasANetworkOfThatName(Frozen):
    """No method: nothing was promised."""

    embed: Any = None

    def __init__(self, task: TaskSpec) -> None:
        super().__init__(task)
        self.embed = self.network


class AsksForMore(Frozen):
    def embed(self, x: Tensor, more: float = 0.0) -> Tensor:
        return super().embed(x) + more

    def predict(self, state: Tensor, query_x: Tensor) -> Tensor:
        return -squared_distances(self.embed(query_x, more=0.0), state)


class Plainly:
    """A session that is never asked to keep features."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def answer(self, batch: Batch) -> Outputs:
        return self.session.answer(replace(batch, keep_features=False))


def scored(learner: Learner, episodes: int = EPISODES) -> Scores:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return score(Session(learner), open_digits(), episodes)


def scored_plainly(learner: Learner, episodes: int = EPISODES) -> Scores:
    return score(Plainly(Session(learner)), open_digits(), episodes)


def pool(episodes: int) -> int:
    """Return the number of images in the first episodes."""
    drawn = open_digits().episodes
    return len(np.unique(np.concatenate([drawn.support[:episodes], drawn.query[:episodes]], 1)))


def outputs(session: Session, first: int, keep: bool) -> np.ndarray:
    part = slice(first, first + PER_BATCH)
    asked = replace(batch(open_digits(), part), keep_features=keep)
    return session.answer(asked).logits.numpy()


@pytest.mark.parametrize("kind", [Frozen, BatchedFrozen])
def test_outputs_are_those_without_kept_features(kind: type[Frozen]) -> None:
    kept, plain = Session(kind(task())), Session(kind(task()))
    for first in range(0, EPISODES, PER_BATCH):
        one, other = outputs(kept, first, keep=True), outputs(plain, first, keep=False)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
        assert np.array_equal(one.argmax(-1), other.argmax(-1))


@pytest.mark.parametrize("kind", [Frozen, BatchedFrozen])
def test_each_image_is_embedded_once_for_any_number_of_episodes(kind: type[Frozen]) -> None:
    episodes, learner = 1000, kind(task())
    scored(learner, episodes)
    checks = PER_BATCH * 80 + 2 * -(-episodes // PER_BATCH)  # the first batch, and two for each
    assert learner.embedded == pool(episodes) + checks
    assert learner.embedded < 0.05 * episodes * 80


def test_the_same_command_gives_the_same_outputs() -> None:
    one, other = scored(Frozen(task())), scored(Frozen(task()))
    assert one.outputs_digest == other.outputs_digest


def test_the_learner_is_left_as_it_was() -> None:
    learner = Frozen(task())
    before = set(vars(learner))
    scored(learner)
    assert set(vars(learner)) == before


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (NormalisesByBatch, "depend on others"),
        (AdaptsItsNetwork, "with kept features outputs move by"),
        (FailsOnManyImages, "MemoryError"),
        (AsksForMore, "unexpected keyword argument 'more'"),
    ],
)
def test_a_learner_whose_features_are_not_frozen_is_scored_without(
    kind: type[Frozen], why: str
) -> None:
    with pytest.warns(UserWarning, match=rf"{kind.__name__}\.embed: .*{why}.*no features are kept"):
        found = score(Session(kind(task())), open_digits(), EPISODES)
    assert found.outputs_digest == scored_plainly(kind(task())).outputs_digest


def test_a_learner_that_trains_on_test_episodes_is_noticed() -> None:
    with pytest.warns(UserWarning, match="with time"):
        score(Session(TrainsAtTest(task())), open_digits(), EPISODES)


def test_training_on_test_episodes_is_noticed_whenever_it_begins() -> None:
    learner = TrainsLater(task())
    session = Session(learner)
    outputs(session, 0, keep=True)  # twice
    outputs(session, PER_BATCH, keep=True)
    with pytest.warns(UserWarning, match="with time"):
        outputs(session, 2 * PER_BATCH, keep=True)
    embedded = learner.embedded
    outputs(session, 0, keep=True)
    assert learner.embedded - embedded == PER_BATCH * 80


@pytest.mark.parametrize("kind", [HasANetworkOfThatName, Frozen])
def test_without_frozen_features_nothing_is_replaced(kind: type[Frozen]) -> None:
    learner = kind(task())
    if kind is Frozen:
        learner.task = TaskSpec(SHAPE, way=5, shot=1, kind="regression")  # points come once
    assert scored(learner).outputs_digest == scored_plainly(kind(task())).outputs_digest


def test_probes_have_features_embedded_again() -> None:
    learner = Frozen(task())
    session = Session(learner)
    score(session, open_digits(), EPISODES)
    probed, unscored = 2, Frozen(task())
    before = learner.embedded
    probe(session, open_digits(), probed, EPISODES)
    probe(Session(unscored), open_digits(), probed, EPISODES)
    assert learner.embedded - before == unscored.embedded
