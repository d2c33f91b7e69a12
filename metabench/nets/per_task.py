"""Networks applied to T tasks at once, each with parameters and statistics of its own.

A task's network is a state: tensors by name, as in a `state_dict`, with a leading task
dimension. Tensors that a state does not name are the network's own and shared by all tasks.

The computation depends on the network. If all of its layers are known, tasks are grouped
(`metabench.nets.grouped`). Otherwise it is mapped over tasks or, failing that, applied to one
task after another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from metabench.learner import Episodes
from metabench.nets.grouped.network import Grouped, grouped
from metabench.nets.network_state import NetworkState, check_state
from metabench.nets.norms import SupportNorm, may_keep_statistics, normalises_by_task
from metabench.nets.vmap import call, over_tasks


def per_task(network: nn.Module, state: NetworkState, x: Tensor) -> Tensor:
    """Apply a network to every task's examples; no task sees another's.

    Args:
        network: maps [N, *shape] to [N, D], in eval mode where the mode matters.
        state: the tasks' own parameters and buffers; may be empty.
        x: [T, N, *shape].

    Returns:
        [T, N, D], differentiable (more than once) in the state and the network's parameters.

    Raises:
        UsageError: the state has a name or a shape that the network lacks.
    """
    return outputs_on(network, state, x)(state)


def outputs_on(
    network: nn.Module, state: NetworkState, x: Tensor
) -> Callable[[NetworkState], Tensor]:
    """Return `per_task` as a function of the state, to apply several states to the same examples.

    Args:
        network: as for `per_task`.
        state: a state with the names that all of them have.
        x: as for `per_task`.

    Raises:
        UsageError: as for `per_task`.
    """
    check_state(network, state, len(x))
    form = _grouped(network, state, x)
    if form is not None:
        return form.outputs

    def of_task(state: NetworkState, x: Tensor) -> Tensor:
        return call(network, state, x)

    return lambda state: over_tasks(network, of_task, state, x)


def support_statistics(network: nn.Module, state: NetworkState, x: Tensor) -> dict[str, Tensor]:
    """Return the statistics that each `SupportNorm` of a network takes from T support sets.

    Args:
        network: as for `per_task`.
        state: likewise.
        x: [T, S, *shape], the support sets.

    Returns:
        Buffers by name, [T, C], to be added to the state that answers queries; empty if the
        network has no such layer.

    Raises:
        UsageError: as for `per_task`.
    """
    check_state(network, state, len(x))
    norms = {name: m for name, m in network.named_modules() if isinstance(m, SupportNorm)}
    if not norms:
        return {}
    form = _grouped(network, state, x)
    if form is not None:
        found: dict[str, Tensor] = {}
        form.outputs(state, found)
        return found

    def of_task(state: NetworkState, x: Tensor) -> dict[str, Tensor]:
        try:
            for norm in norms.values():
                norm.collecting = True
            call(network, state, x)
            used = {name: norm.collected for name, norm in norms.items()}
        finally:
            for norm in norms.values():
                norm.collecting, norm.collected = False, None
        return {
            f"{name}.{part}": value
            for name, statistics in used.items()
            if statistics is not None  # the forward pass may skip a layer
            for part, value in zip(("mean", "var"), statistics, strict=True)
        }

    return over_tasks(network, of_task, state, x)


def embed(
    module: nn.Module, x: Tensor, input_shape: Sequence[int], statistics: NetworkState | None = None
) -> Tensor:
    """Return the features of examples with any leading dimensions.

    All examples form one batch, unless the module normalises by task: then each task forms one.

    Args:
        module: maps [N, *input_shape] to [N, D].
        x: [N, *input_shape], or [T, N, *input_shape] for T tasks.
        input_shape: shape of one example.
        statistics: of the tasks' support sets, from `support_statistics`.

    Returns:
        [..., D], with the leading dimensions of `x`.
    """
    leading = x.shape[: x.ndim - len(input_shape)]
    if len(leading) == 2 and normalises_by_task(module):
        return per_task(module, statistics or {}, x).flatten(2)
    return _one_batch(module, x.reshape(-1, *input_shape)).reshape(*leading, -1)


@torch.no_grad()
def move_running_statistics(network: nn.Module, episodes: Episodes) -> None:
    """Move running statistics, if there are any, by one batch of all examples of the episodes."""
    if may_keep_statistics(network):
        examples = torch.cat([episodes.support.x, episodes.query.x], dim=1)
        _one_batch(network.train(), examples.flatten(0, 1))
        network.eval()


def _one_batch(module: nn.Module, x: Tensor) -> Tensor:
    """Return `module(x)`; a network in training on a CPU takes the faster path for one task."""
    if module.training and may_keep_statistics(module) and x.device.type == "cpu":
        state = {name: value.unsqueeze(0) for name, value in module.named_parameters()}
        form = _grouped(module, state, x.unsqueeze(0))
        if form is not None:
            return form.outputs(state).squeeze(0)
    features: Tensor = module(x)
    return features


def _grouped(network: nn.Module, state: NetworkState, x: Tensor) -> Grouped | None:
    """Return the network as groups, unless one of torch's own transforms must see inside it."""
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return None
    return grouped(network, state, x)
