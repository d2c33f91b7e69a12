"""Adapt and predict on batches of tasks, timed apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metabench.data.dataset import Examples
from metabench.errors import UsageError
from metabench.harness.clock import no_gc, now, synchronize
from metabench.learner import BatchedLearner, Learner, Support

Batch = npt.NDArray[Any]


class Answer(NamedTuple):
    """Outputs [T, Q, way] float32, and the seconds each phase took."""

    logits: npt.NDArray[np.float32]
    adapt_s: float
    predict_s: float


class LoopedLearner(BatchedLearner):
    """A one-task learner behind the batched methods: it loops over tasks."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner.task)
        self.learner = learner

    def adapt(self, support: Support) -> list[Any]:
        return [self.learner.adapt(Support(*task)) for task in zip(*support, strict=True)]

    def predict(self, state: list[Any], query_x: Tensor) -> Tensor:
        tasks = zip(state, query_x, strict=True)
        return torch.stack([self.learner.predict(one, x) for one, x in tasks])


def as_batched(learner: Learner) -> BatchedLearner:
    """The learner itself if it takes batches of tasks, else wrapped in a loop."""
    return learner if isinstance(learner, BatchedLearner) else LoopedLearner(learner)


def to_float(examples: Examples, device: str) -> Tensor:
    """uint8 images as float32 in [0, 1] on a device; float32 points as they are."""
    x = torch.from_numpy(examples).to(device)
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def answer(learner: Learner, support_x: Batch, support_y: Batch, query_x: Batch) -> Answer:
    """Adapt to T support sets and answer their queries.

    Args:
        learner: already meta-trained.
        support_x: [T, S, *shape] uint8, or float32 for regression.
        support_y: [T, S] int64, or [T, S, 1] float32.
        query_x: [T, Q, *shape], as `support_x`.

    Raises:
        UsageError: the outputs have another shape than [T, Q, way].
    """
    device, batched = learner.task.device, as_batched(learner)
    x, queries = to_float(support_x, device), to_float(query_x, device)
    y = torch.from_numpy(support_y).to(device)
    with no_gc():
        synchronize(device)
        start = now()
        state = batched.adapt(Support(x, y))
        synchronize(device)
        adapted = now()
        logits = batched.predict(state, queries)
        synchronize(device)
        predicted = now()
    expected = (*query_x.shape[:2], learner.task.way)
    if tuple(logits.shape) != expected:
        raise UsageError(
            f"predict returned shape {list(logits.shape[1:])} for one task, expected "
            f"{list(expected[1:])}: one row for each query"
        )
    outputs = logits.detach().to("cpu", torch.float32).numpy()
    return Answer(outputs, adapted - start, predicted - adapted)
