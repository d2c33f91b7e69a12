"""Have a learner answer test episodes, and score its answers."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np
from msgspec.structs import replace

from metabench.cell.calibration import CalibrationTally
from metabench.cell.commands import batch, tasks_per_batch
from metabench.cell.messages import Batch, Outputs
from metabench.cell.scores import (
    correct_counts,
    macro_f1,
    predicted_classes,
    squared_errors,
)
from metabench.errors import UsageError
from metabench.results.schema import Scores
from metabench.suites.open_suite import OpenSuite


class Answering(Protocol):
    """A learner that answers batches, in this process or in another."""

    def answer(self, batch: Batch) -> Outputs:
        """Return the learner's outputs for a batch."""
        ...


def score(learner: Answering, opened: OpenSuite, episodes: int) -> Scores:
    """Have the first `episodes` test episodes answered, in batches, and score each.

    Raises:
        ValueError: outputs have a wrong shape.
        UsageError: outputs of a regression suite are not finite.
    """
    manifest, way, tasks = opened.episodes, opened.suite.way, tasks_per_batch(opened)
    digest, halved = hashlib.sha256(), False
    tally = _Classes(way) if opened.suite.kind == "classification" else _Values()
    for first in range(0, episodes, tasks):
        part = slice(first, min(first + tasks, episodes))
        outputs = learner.answer(replace(batch(opened, part), keep_features=True))
        logits, expected = outputs.logits.numpy(), (*manifest.query[part].shape, way)
        if logits.shape != expected:  # a broken process must not get a score
            raise ValueError(f"outputs of shape {logits.shape}, expected {expected}")
        digest.update(np.ascontiguousarray(logits, dtype="<f4").data)
        tally.add(logits, opened.query_truth(part))
        halved = halved or outputs.halved
    scores = tally.scores(manifest.query.shape[1], digest.hexdigest())
    at_once = tasks // 2 if halved else tasks
    return replace(scores, tasks_per_batch=min(at_once, episodes), halved=halved)


class _Classes:
    """Scores of episodes whose queries have a class: outputs are logits [T, Q, way]."""

    def __init__(self, way: int) -> None:
        self.way = way
        self.correct: list[int] = []
        self.f1: list[float] = []
        self.calibration = CalibrationTally()
        self.nonfinite = 0

    def add(self, logits: Any, truth: Any) -> None:
        predicted = predicted_classes(logits)
        self.correct += correct_counts(predicted, truth).tolist()
        self.f1 += np.round(macro_f1(predicted, truth, self.way), 6).tolist()
        self.calibration.add(logits, truth)
        self.nonfinite += int((~np.isfinite(logits)).sum())

    def scores(self, queries: int, digest: str) -> Scores:
        return Scores(
            queries=queries,
            correct=self.correct,
            f1=self.f1,
            nonfinite=self.nonfinite,
            calibration=self.calibration.result(),
            outputs_digest=digest,
        )


class _Values:
    """Scores of episodes whose queries have a value: outputs are values [T, Q, 1]."""

    def __init__(self) -> None:
        self.error: list[float] = []

    def add(self, values: Any, truth: Any) -> None:
        errors = squared_errors(values, truth)
        if not np.isfinite(errors).all():  # such an episode has no error, nor has the mean
            k = len(self.error) + int(np.argmin(np.isfinite(errors)))
            raise UsageError(f"outputs in episode {k} are not finite: the learner diverged")
        self.error += [float(f"{error:.9g}") for error in errors]  # float32 has no more digits

    def scores(self, queries: int, digest: str) -> Scores:
        return Scores(queries=queries, error=self.error, outputs_digest=digest)
