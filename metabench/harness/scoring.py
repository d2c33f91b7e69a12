"""Put test episodes to a learner and score what comes back."""

from __future__ import annotations

import hashlib
from time import perf_counter as now
from typing import NamedTuple, Protocol

import numpy as np

from metabench.harness.messages import Array, Batch, Outputs
from metabench.results.schema import Scores, Timing
from metabench.results.scores import correct_counts, macro_f1, predicted_classes
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
    """
    latency = _latency(learner, opened, episodes)
    manifest, way = opened.episodes, opened.suite.way
    tasks = max(1, _IMAGES_AT_ONCE // (manifest.support.shape[1] + manifest.query.shape[1]))
    digest, correct, f1, nonfinite, seconds = hashlib.sha256(), [], [], 0, 0.0
    for first in range(0, episodes, tasks):
        part = slice(first, min(first + tasks, episodes))
        outputs = learner.answer(batch(opened, part))
        logits, truth = outputs.logits.numpy(), manifest.query_y[part]
        if logits.shape != (*truth.shape, way):  # what a broken process sends is no score
            raise ValueError(f"outputs of shape {logits.shape}, expected {(*truth.shape, way)}")
        digest.update(np.ascontiguousarray(logits, dtype="<f4").data)
        nonfinite += int((~np.isfinite(logits)).sum())
        predicted = predicted_classes(logits)
        correct += correct_counts(predicted, truth).tolist()
        f1 += np.round(macro_f1(predicted, truth, way), 6).tolist()
        seconds += outputs.adapt_s + outputs.predict_s
    return Scored(
        Scores(
            queries=manifest.query.shape[1],
            correct=correct,
            f1=f1,
            nonfinite=nonfinite,
            outputs_digest=digest.hexdigest(),
        ),
        Timing(
            cold_s=latency[0].adapt_s + latency[0].predict_s,
            adapt_s=[out.adapt_s for out in latency[1:]],
            predict_s=[out.predict_s for out in latency[1:]],
            throughput_s=seconds,
            throughput_episodes=episodes,
            tasks_per_batch=tasks,
        ),
    )


def batch(opened: OpenSuite, part: slice) -> Batch:
    """Test episodes as a learner gets them: images and support labels, nothing else."""
    images, manifest = opened.dataset.images, opened.episodes
    return Batch(
        support_x=Array.of(images[manifest.support[part]]),
        support_y=Array.of(np.ascontiguousarray(manifest.support_y[part], dtype=np.int64)),
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
