"""An outer update, a few tasks at a time: memory does not grow with the number of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from metabench.learner import Episodes, Support

_MEMORY = 384 * 2**20  # bytes that the layers' outputs for the tasks of one part may take


def tasks_at_once(episodes: Episodes, activation_bytes: int, steps: int) -> int:
    """How many tasks of an outer update to compute together.

    It depends on shapes alone, so that the same update is the same on every machine: sums over
    other parts of the tasks are rounded differently.

    Args:
        episodes: of the update.
        activation_bytes: of the network, for one example; from `shapes.activation_bytes`.
        steps: of the inner loop, as far as derivatives go back through them.
    """
    support, query = episodes.support.x.shape[1], episodes.query.x.shape[1]
    fit = max(1, _MEMORY // max(1, activation_bytes * (support * steps + query)))
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
    total = 0.0
    for first in range(0, len(episodes), at_once):
        part = _part(episodes, slice(first, first + at_once))
        loss = mean_loss(part) * (len(part) / len(episodes))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def _part(episodes: Episodes, tasks: slice) -> Episodes:
    def of(labelled: Support) -> Support:
        return Support(labelled.x[tasks], labelled.y[tasks])

    return Episodes(of(episodes.support), of(episodes.query), episodes.way)
