"""An outer update, a few tasks at a time: memory does not grow with the number of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from metabench.learner import Episodes, Support

# Bytes that the layers' outputs for the tasks of one part may take. Large parts spare accelerators
# the starting of kernels; CPUs gain nothing by them.
_MEMORY, _MEMORY_OF_ACCELERATOR = 384 * 2**20, 4 * 2**30


def tasks_at_once(episodes: Episodes, activation_bytes: int, steps: int) -> int:
    """How many tasks of an outer update to compute together.

    It depends on shapes and the kind of device alone, so that the same update is the same on
    every machine: sums over other parts of the tasks are rounded differently.

    Args:
        episodes: of the update.
        activation_bytes: of the network, for one example; from `shapes.activation_bytes`.
        steps: of the inner loop, as far as derivatives go back through them.
    """
    support, query = episodes.support.x.shape[1], episodes.query.x.shape[1]
    on_cpu = episodes.support.x.device.type == "cpu"
    memory = _MEMORY if on_cpu else _MEMORY_OF_ACCELERATOR
    fit = max(1, memory // max(1, activation_bytes * (support * steps + query)))
    return math.ceil(len(episodes) / math.ceil(len(episodes) / fit))


def backward_by_tasks(
    mean_loss: Callable[[Episodes], Tensor], episodes: Episodes, at_once: int
) -> float:
    """Add the gradients of a mean loss over tasks to the parameters', some tasks at a time.

    Args:
        mean_loss: the mean over the tasks that it is given.
        episodes: T tasks.
        at_once: tasks in one part.

    Returns:
        The mean loss over all tasks.
    """
    losses = []
    for first in range(0, len(episodes), at_once):
        part = _part(episodes, slice(first, first + at_once))
        loss = mean_loss(part) * (len(part) / len(episodes))
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.detach())
    return sum(loss.item() for loss in losses)  # a device is waited for once, at the end


def _part(episodes: Episodes, tasks: slice) -> Episodes:
    def of(labelled: Support) -> Support:
        return Support(labelled.x[tasks], labelled.y[tasks])

    return Episodes(of(episodes.support), of(episodes.query), episodes.way)
