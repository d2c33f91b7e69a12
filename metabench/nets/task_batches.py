"""An outer update, a few tasks at a time, so that memory does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence

import torch
from torch import Tensor, nn

from metabench.learner import Episodes, Support
from metabench.nets.cuda_graphs import Replayed

# Bytes that the layers' outputs for the tasks of one part may take. On accelerators, larger parts
# mean fewer kernel launches; CPUs gain nothing from them.
_MEMORY, _MEMORY_OF_ACCELERATOR = 384 * 2**20, 4 * 2**30
_RECORDINGS = 2  # one of full parts and one of a smaller last part; each holds memory


def tasks_at_once(episodes: Episodes, activation_bytes: int, steps: int) -> int:
    """Return the number of tasks of an outer update to compute together.

    It depends only on shapes and the kind of device, so that an update is the same on every
    machine: sums over other parts of the tasks are rounded differently.

    Args:
        episodes: the tasks of the update.
        activation_bytes: of the network, for one example; from `shapes.activation_bytes`.
        steps: number of inner steps that derivatives go back through.
    """
    on_cpu = episodes.support.x.device.type == "cpu"
    memory = _MEMORY if on_cpu else _MEMORY_OF_ACCELERATOR
    support, query = episodes.support.x.shape[1], episodes.query.x.shape[1]
    fit = max(1, memory // max(1, activation_bytes * (support * steps + query)))
    return math.ceil(len(episodes) / math.ceil(len(episodes) / fit))


class TaskGradients:
    """Gradients of a mean loss over tasks, by parameters whose memory stays in place.

    On a CUDA device their computation is recorded once for each shape of tasks, and replayed.

    Args:
        parameters: parameters to differentiate by; those that require no gradient are left out.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self._replayed: dict[Hashable, Replayed] = {}

    def add(
        self,
        mean_loss: Callable[[Episodes], Tensor],
        episodes: Episodes,
        at_once: int,
        depends_on: Hashable = (),
    ) -> float:
        """Add the gradients to those of the parameters, some tasks at a time.

        Args:
            mean_loss: returns the mean over the given tasks; the same function at each call,
                except for what it takes from the parameters and from `depends_on`.
            episodes: T tasks.
            at_once: number of tasks in one part.
            depends_on: numbers that the loss depends on, such as a step size; each combination
                has its own recordings.

        Returns:
            The mean loss over all tasks.

        Raises:
            UsageError: the loss was recorded, and has changed since.
        """
        losses = []
        for first in range(0, len(episodes), at_once):
            part = _part(episodes, slice(first, first + at_once))
            loss, *grads = self._of(mean_loss, part, len(part) / len(episodes), depends_on)
            assert loss is not None
            losses.append(loss)
            for parameter, grad in zip(self.parameters, grads, strict=True):
                if parameter.grad is None:
                    parameter.grad = grad
                elif grad is not None:
                    parameter.grad += grad
        return sum(loss.item() for loss in losses)  # waits for a device once, at the end

    def _of(
        self,
        mean_loss: Callable[[Episodes], Tensor],
        part: Episodes,
        share: float,
        depends_on: Hashable,
    ) -> Sequence[Tensor | None]:
        """Return loss and gradients of some tasks, times their share of all."""
        inputs, way = (*part.support, *part.query), part.way

        def loss_and_gradients(*inputs: Tensor) -> Sequence[Tensor | None]:
            tasks = Episodes(Support(*inputs[:2]), Support(*inputs[2:]), way)
            loss = mean_loss(tasks) * share
            grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            return loss.detach(), *map(_copied, grads, self.parameters)

        given = tuple((value.shape, value.dtype, value.device) for value in inputs)
        places = tuple(parameter.data_ptr() for parameter in self.parameters)
        key = given, way, share, depends_on, places
        if _records(part) and key not in self._replayed and self._has_room():
            self._replayed[key] = Replayed(getattr(mean_loss, "__qualname__", "the loss"))
        if key in self._replayed:
            return self._replayed[key](loss_and_gradients, *inputs)
        return loss_and_gradients(*inputs)

    def _has_room(self) -> bool:
        """Return whether another recording may be made: none failed, and there are few."""
        known = self._replayed.values()
        return len(known) < _RECORDINGS and not any(replayed.refused for replayed in known)


def _records(part: Episodes) -> bool:
    return part.support.x.device.type == "cuda"


def _copied(grad: Tensor | None, parameter: Tensor) -> Tensor | None:
    """Copy a gradient to memory of its own, with its parameter's strides.

    Autograd may use the same memory for two parameters, and optimisers are slow with other
    strides.
    """
    return None if grad is None else torch.empty_like(parameter).copy_(grad)


def _part(episodes: Episodes, tasks: slice) -> Episodes:
    def of(labelled: Support) -> Support:
        return Support(labelled.x[tasks], labelled.y[tasks])

    return Episodes(of(episodes.support), of(episodes.query), episodes.way)
