"""An outer update, a few tasks at a time: memory does not grow with the number of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn

from metabench.learner import Episodes, Support
from metabench.nets.recording import Replayed

# Bytes that the layers' outputs for the tasks of one part may take. Large parts spare accelerators
# the starting of kernels; CPUs gain nothing by them.
_MEMORY, _MEMORY_OF_ACCELERATOR = 384 * 2**20, 4 * 2**30
_RECORDINGS = 4  # each keeps memory


def tasks_at_once(episodes: Episodes, activation_bytes: int, steps: int) -> int:
    """How many tasks of an outer update to compute together.

    It depends on shapes and the kind of device alone, so that the same update is the same on
    every machine: sums over other parts of the tasks are rounded differently.

    Args:
        episodes: of the update.
        activation_bytes: of the network, for one example; from `shapes.activation_bytes`.
        steps: of the inner loop, as far as derivatives go back through them.
    """
    on_cpu = episodes.support.x.device.type == "cpu"
    memory = _MEMORY if on_cpu else _MEMORY_OF_ACCELERATOR
    support, query = episodes.support.x.shape[1], episodes.query.x.shape[1]
    fit = max(1, memory // max(1, activation_bytes * (support * steps + query)))
    return math.ceil(len(episodes) / math.ceil(len(episodes) / fit))


class TaskGradients:
    """Gradients of a mean loss over tasks.

    On a CUDA device they are recorded once for each shape of tasks, and replayed.

    Args:
        mean_loss: the mean over the tasks that it is given. It may depend on the parameters and
            the tasks, not on numbers that change from one update to the next.
        parameters: what to differentiate by. They stay where they are in memory.
        name: of the loss, for messages.
    """

    def __init__(
        self,
        mean_loss: Callable[[Episodes], Tensor],
        parameters: Iterable[nn.Parameter],
        name: str = "meta_loss",
    ) -> None:
        self.mean_loss, self.parameters, self.name = mean_loss, list(parameters), name
        self._replayed: dict[Hashable, Replayed] = {}

    def add(self, episodes: Episodes, at_once: int) -> float:
        """Add the gradients to the parameters', some tasks at a time.

        Args:
            episodes: T tasks.
            at_once: tasks in one part.

        Returns:
            The mean loss over all tasks.

        Raises:
            UsageError: the loss was recorded, and has changed since.
        """
        losses = []
        for first in range(0, len(episodes), at_once):
            part = _part(episodes, slice(first, first + at_once))
            loss, *grads = self._of(part, len(part) / len(episodes))
            assert loss is not None
            losses.append(loss)
            for parameter, grad in zip(self.parameters, grads, strict=True):
                if parameter.grad is None:
                    parameter.grad = grad
                elif grad is not None:
                    parameter.grad += grad
        return sum(loss.item() for loss in losses)  # a device is waited for once, at the end

    def _of(self, part: Episodes, share: float) -> Sequence[Tensor | None]:
        """Loss and gradients of some tasks, times their share of all."""
        (support_x, support_y), (query_x, query_y) = part.support, part.query
        inputs = support_x, support_y, query_x, query_y

        def loss_and_gradients(*inputs: Tensor) -> Sequence[Tensor | None]:
            episodes = Episodes(Support(*inputs[:2]), Support(*inputs[2:]), part.way)
            loss = self.mean_loss(episodes) * share
            grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            return loss.detach(), *map(_laid_out, grads, self.parameters)

        if support_x.device.type != "cuda":
            return loss_and_gradients(*inputs)
        given = tuple((value.shape, value.dtype, value.device) for value in inputs)
        places = tuple(parameter.data_ptr() for parameter in self.parameters)
        key = given, part.way, share, places
        if key not in self._replayed:
            if len(self._replayed) == _RECORDINGS:
                return loss_and_gradients(*inputs)
            self._replayed[key] = Replayed(loss_and_gradients, self.name)
        return self._replayed[key](*inputs)


def _laid_out(grad: Tensor | None, parameter: Tensor) -> Tensor | None:
    """The gradient with its parameter's strides, without which optimisers are slow."""
    if grad is None or grad.stride() == parameter.stride():
        return grad
    return torch.empty_like(parameter).copy_(grad)


def _part(episodes: Episodes, tasks: slice) -> Episodes:
    def of(labelled: Support) -> Support:
        return Support(labelled.x[tasks], labelled.y[tasks])

    return Episodes(of(episodes.support), of(episodes.query), episodes.way)
