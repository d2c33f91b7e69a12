"""Put test episodes to a learner and score what comes back."""

from __future__ import annotations

import hashlib
from time import perf_counter as now
from typing import Any, NamedTuple, Protocol

import numpy as np

from metabench.errors import UsageError
from metabench.harness.messages import Array, Batch, Outputs
from metabench.results.schema import Scores, Timing
from metabench.results.scores import (
    correct_counts,
    macro_f1,
    predicted_classes,
    squared_errors,
)
from metabench.suites.opened import OpenSuite

_IMAGES_AT_ONCE = 1024  # in one throughput batch
_LATENCY_SECONDS = 1.0
_LATENCY_EPISODES = 50
_FEWEST_LATENCY_EPISODES = 5


class Answering(Protocol):
    """A learner that answers batches, in this process or in another."""

    def answer(self, batch: Batch) -> Outputs: ...


class Scored(NamedTuple):
    """What the test episodes gave."""

    scores: Scores
    timing: Timing


def score(learner: Answering, opened: OpenSuite, episodes: int) -> Scored:
    """Run the first `episodes` test episodes: latency one at a time, then all in batches.

    Scores come from the batches only. The first episode of all is the cold one.

    Raises:
        ValueError: outputs have a wrong shape.
        UsageError: they are not finite where their error is the score.
    """
    latency = _latency(learner, opened, episodes)
    manifest, way = opened.episodes, opened.suite.way
    tasks = max(1, _IMAGES_AT_ONCE // (manifest.support.shape[1] + manifest.query.shape[1]))
    digest, seconds = hashlib.sha256(), 0.0
    tally = _Classes(way) if opened.suite.kind == "classification" else _Values()
    for first in range(0, episodes, tasks):
        part = slice(first, min(first + tasks, episodes))
        outputs = learner.answer(batch(opened, part))
        logits, expected = outputs.logits.numpy(), (*manifest.query[part].shape, way)
        if logits.shape != expected:  # what a broken process sends is no score
            raise ValueError(f"outputs of shape {logits.shape}, expected {expected}")
        digest.update(np.ascontiguousarray(logits, dtype="<f4").data)
        tally.add(logits, opened.query_truth(part))
        seconds += outputs.adapt_s + outputs.predict_s
    return Scored(
        tally.scores(manifest.query.shape[1], digest.hexdigest()),
        Timing(
            cold_s=latency[0].adapt_s + latency[0].predict_s,
            adapt_s=[out.adapt_s for out in latency[1:]],
            predict_s=[out.predict_s for out in latency[1:]],
            throughput_s=seconds,
            throughput_episodes=episodes,
            tasks_per_batch=tasks,
        ),
    )


class _Classes:
    """Scores of episodes whose queries have a class: outputs are logits [T, Q, way]."""

    def __init__(self, way: int) -> None:
        self.way = way
        self.correct: list[int] = []
        self.f1: list[float] = []
        self.nonfinite = 0

    def add(self, logits: Any, truth: Any) -> None:
        predicted = predicted_classes(logits)
        self.correct += correct_counts(predicted, truth).tolist()
        self.f1 += np.round(macro_f1(predicted, truth, self.way), 6).tolist()
        self.nonfinite += int((~np.isfinite(logits)).sum())

    def scores(self, queries: int, digest: str) -> Scores:
        return Scores(
            queries=queries,
            correct=self.correct,
            f1=self.f1,
            nonfinite=self.nonfinite,
            outputs_digest=digest,
        )


class _Values:
    """Scores of episodes whose queries have a value: outputs are values [T, Q, 1]."""

    def __init__(self) -> None:
        self.error: list[float] = []

    def add(self, values: Any, truth: Any) -> None:
        errors = squared_errors(values, truth)
        if not np.isfinite(errors).all():  # such an episode has no error, nor has their mean
            k = len(self.error) + int(np.argmin(np.isfinite(errors)))
            raise UsageError(f"outputs in episode {k} are not finite: the learner diverged")
        self.error += [float(f"{error:.9g}") for error in errors]  # float32 outputs have no more

    def scores(self, queries: int, digest: str) -> Scores:
        return Scores(queries=queries, error=self.error, outputs_digest=digest)


def batch(opened: OpenSuite, part: slice) -> Batch:
    """Test episodes as a learner gets them: images and support labels, nothing else."""
    images, manifest = opened.dataset.images, opened.episodes
    return Batch(
        support_x=Array.of(images[manifest.support[part]]),
        support_y=Array.of(np.ascontiguousarray(opened.support_truth(part))),
        query_x=Array.of(images[manifest.query[part]]),
    )


def _latency(learner: Answering, opened: OpenSuite, episodes: int) -> list[Outputs]:
    """Episodes one at a time: a cold one, then as many as fit the time, at least a few."""
    outputs: list[Outputs] = []
    start = now()
    for k in range(min(episodes, 1 + _LATENCY_EPISODES)):
        if len(outputs) > _FEWEST_LATENCY_EPISODES and now() - start > _LATENCY_SECONDS:
            break
        outputs.append(learner.answer(batch(opened, slice(k, k + 1))))
    return outputs
