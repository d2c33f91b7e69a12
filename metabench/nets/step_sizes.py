"""The step sizes of the inner loop, in all forms that users may write."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from torch import Tensor, nn

from metabench.errors import UsageError, unknown
from metabench.nets.network_state import NetworkState

StepSize = float | Tensor  # numbers of NumPy too; tensors of one element, or one for each weight


def step_sizes(
    network: nn.Module, params: NetworkState, lr: StepSize | Mapping[str, StepSize]
) -> dict[str, StepSize]:
    """Return a step size for each parameter: a float, or a tensor.

    Args:
        network: the network that the parameters belong to.
        params: the parameters that are adapted.
        lr: one for all of them, or one for each; others of the network's parameters may have one.

    Raises:
        UsageError: a parameter has none, a name belongs to no parameter, or a value is neither a
            number nor such a tensor.
    """
    if not isinstance(lr, Mapping):
        return dict.fromkeys(params, _step_size("lr", lr, None))
    own = dict(network.named_parameters())
    for name in lr:
        if name not in own:
            raise unknown("parameter of the network in lr", name, own)
    for name in params:
        if name not in lr:
            raise UsageError(f"lr has no step size for parameter '{name}'")
    return {name: _step_size(f"lr['{name}']", lr[name], own.get(name)) for name in params}


def _step_size(what: str, lr: StepSize, parameter: Tensor | None) -> StepSize:
    if isinstance(lr, Tensor):
        if parameter is not None and parameter.shape in (lr.shape, lr.shape[1:]):
            return lr  # [T, ...] if each task has its own
        if lr.numel() == 1:
            return lr.reshape(())
        others = "" if parameter is None else f" or of shape {list(parameter.shape)}"
        raise UsageError(
            f"{what} is a tensor of shape {list(lr.shape)}: write a number, or a tensor of one"
            f" element{others}"
        )
    if not isinstance(lr, Real) or isinstance(lr, bool):
        raise UsageError(f"{what}={lr!r}: write a number, or a tensor of one element")
    return float(lr)
