"""Adapt and predict on batches of tasks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from metabench.data.dataset import Examples, Indices
from metabench.errors import UsageError
from metabench.garbage import no_gc
from metabench.learner import BatchedLearner, Learner, Support

Arrays = npt.NDArray[Any]


class LoopedLearner(BatchedLearner):
    """A one-task learner with the batched interface: it loops over tasks."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner.task)
        self.learner = learner

    def adapt(self, support: Support) -> list[Any]:
        return [self.learner.adapt(Support(*task)) for task in zip(*support, strict=True)]

    def predict(self, state: list[Any], query_x: Tensor) -> Tensor:
        tasks = zip(state, query_x, strict=True)
        return torch.stack([as_tensor(self.learner.predict(one, x)) for one, x in tasks])


def as_tensor(outputs: object) -> Tensor:
    """Return what `predict` returned, which must be a tensor.

    Raises:
        UsageError: it is not a tensor.
    """
    if not isinstance(outputs, Tensor):
        raise UsageError(f"predict returned {type(outputs).__name__}, expected a torch.Tensor")
    return outputs


def as_batched(learner: Learner) -> BatchedLearner:
    """Return the learner itself if it takes batches of tasks, otherwise wrap it in a loop."""
    return learner if isinstance(learner, BatchedLearner) else LoopedLearner(learner)


def to_float(examples: Examples, device: str) -> Tensor:
    """Convert uint8 images to float32 in [0, 1] on a device; float32 points keep their values."""
    return _as_float(torch.from_numpy(examples).to(device))


def _as_float(x: Tensor) -> Tensor:
    return x.float().div_(255) if x.dtype == torch.uint8 else x


def tensor_on(examples: Examples) -> Tensor:
    """Return examples as a tensor that shares their memory and must only be read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(examples)


def gather(examples: Tensor, members: Indices, device: str) -> Tensor:
    """Gather some of the examples, as floats on a device.

    Args:
        examples: [M, *shape], from `tensor_on`.
        members: [...], the indices of those to gather.
        device: a torch device.

    Returns:
        [..., *shape] float32, images in [0, 1].
    """
    taken = examples.index_select(0, torch.from_numpy(members.reshape(-1)))
    return _as_float(taken.view(*members.shape, *examples.shape[1:]).to(device))


def answer(
    learner: Learner, support_x: Arrays, support_y: Arrays, query_x: Arrays
) -> npt.NDArray[np.float32]:
    """Adapt to T support sets and answer their queries.

    Args:
        learner: a meta-trained learner.
        support_x: [T, S, *shape] uint8, or float32 for regression.
        support_y: [T, S] int64, or [T, S, 1] float32.
        query_x: [T, Q, *shape], of the type of `support_x`.

    Returns:
        [T, Q, way] logits, or [T, Q, 1] values.

    Raises:
        UsageError: the outputs have another shape.
    """
    device, batched = learner.task.device, as_batched(learner)
    y = torch.tensor(support_y, device=device)  # a copy, which a learner may change
    with no_gc():
        state = batched.adapt(Support(to_float(support_x, device), y))
        logits = as_tensor(batched.predict(state, to_float(query_x, device)))
    expected = (*query_x.shape[:2], learner.task.way)
    if tuple(logits.shape) != expected:
        raise UsageError(
            f"predict returned shape {list(logits.shape[1:])} for one task, expected "
            f"{list(expected[1:])}: one row for each query"
        )
    outputs: npt.NDArray[np.float32] = logits.detach().to("cpu", torch.float32).numpy()
    return outputs
