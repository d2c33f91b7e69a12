"""The state of a network for T tasks: parameters and buffers by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from metabench.errors import UsageError, unknown

NetworkState = Mapping[str, Tensor]  # [T, *shape of the parameter or buffer]


def check_state(network: nn.Module, state: NetworkState, tasks: int) -> None:
    """Refuse a state that does not fit a network.

    Args:
        network: the network that is applied with the state.
        state: parameters and buffers; others are the network's own.
        tasks: T.

    Raises:
        UsageError: a name belongs to no parameter or buffer, or a tensor has another shape than
            one of the network for each task.
    """
    modules = dict(network.named_modules(remove_duplicate=False))
    for name, value in state.items():
        module_name, _, part = name.rpartition(".")
        module = modules.get(module_name)
        if module is None or not (part in module._parameters or part in module._buffers):
            known = network.state_dict(keep_vars=True)
            raise unknown("parameter or buffer of the network", name, known)
        own = module._parameters.get(part)
        if own is None:
            own = module._buffers.get(part)
        if own is not None and value.shape != (tasks, *own.shape):  # a buffer may be empty yet
            raise UsageError(
                f"'{name}' of shape {list(value.shape)}: {tasks} tasks take "
                f"{[tasks, *own.shape]}, one of {list(own.shape)} each"
            )
