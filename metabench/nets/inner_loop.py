"""The inner loop: gradient steps on support sets, for T tasks at once.

Tasks do not share parameters here, so for each task the gradient of the sum of all losses is the
gradient of its own loss. Networks are mapped over tasks first and differentiated afterwards, by
ordinary autograd, as often as needed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metabench.errors import UsageError, unknown
from metabench.learner import Support
from metabench.nets.per_task import outputs_on, support_statistics
from metabench.nets.vmap import NetworkState


@torch.enable_grad()
def sgd_steps(
    network: nn.Module,
    params: NetworkState,
    support: Support,
    lr: float | Tensor | Mapping[str, Tensor],
    steps: int,
    *,
    second_order: bool = False,
) -> dict[str, Tensor]:
    """Adapt parameters to T support sets by gradient descent on each set's mean loss.

    One step takes theta to theta' = theta - alpha * grad L(theta), with L the loss of a task.

    Args:
        network: maps [N, *shape] to logits [N, way], or to values [N, 1].
        params: theta by name: the network's parameters, which every task starts from
            (`dict(network.named_parameters())`), or tensors [T, ...], separate for each task.
            They must require gradients.
        support: x [T, S, *shape], y [T, S] int64 or [T, S, 1] float.
        lr: the step size alpha, a number or a tensor of one; or one tensor for each parameter,
            of its shape (Meta-SGD).
        steps: number of steps; with 0 every task gets the parameters as they are.
        second_order: differentiate through the gradients of the steps; otherwise these count as
            constants (first-order MAML).

    Returns:
        The adapted parameters [T, ...] by name. Autograd tracks them back to `params` and `lr`:
        detach those that are only used to predict.

    Raises:
        UsageError: the support set is that of one task, a name belongs to no parameter, or a
            parameter does not require gradients or has no step size.

    References:
        Finn, Abbeel and Levine 2017, section 2.2, algorithm 2, and section 5.2 for first order
        (arXiv:1703.03400);
        Li et al. 2017, equation 2 (arXiv:1707.09835), for step sizes by parameter.
    """
    if support.y.ndim != (3 if support.y.is_floating_point() else 2):
        raise UsageError(
            f"support sets with y of shape {list(support.y.shape)}: the inner loop takes T tasks, "
            "y [T, S] or [T, S, 1]"
        )
    if isinstance(lr, Mapping):
        for name in params:
            if name not in lr:
                raise UsageError(f"lr has no step size for parameter '{name}'")
    adapted = _one_each(network, params, len(support.x))
    outputs_of = outputs_on(network, adapted, support.x)
    for _ in range(steps):
        losses = task_losses(outputs_of(adapted), support.y)
        grads = torch.autograd.grad(
            losses.sum(),
            list(adapted.values()),
            create_graph=second_order,
            materialize_grads=True,  # a network may have parameters that it does not use
        )
        adapted = {
            name: _step(value, grad, lr[name] if isinstance(lr, Mapping) else lr)
            for (name, value), grad in zip(adapted.items(), grads, strict=True)
        }
    return adapted


def _step(value: Tensor, grad: Tensor, lr: float | Tensor) -> Tensor:
    """Return value - lr * grad, computed in one pass."""
    if isinstance(lr, Tensor):
        return torch.addcmul(value, lr, grad, value=-1)
    return torch.sub(value, grad, alpha=lr)


def task_losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of each task: cross-entropy, or squared error if `y` is float.

    Args:
        outputs: [T, N, way] logits, or [T, N, 1] values.
        y: [T, N] int64, or [T, N, 1] float.

    Returns:
        [T].

    Raises:
        UsageError: there is not one value for each target.
    """
    if y.is_floating_point():
        if outputs.shape != y.shape:  # subtraction would broadcast
            raise UsageError(f"outputs {list(outputs.shape)} for values {list(y.shape)}")
        return (outputs - y).square().mean((1, 2))
    return F.cross_entropy(outputs.transpose(1, 2), y, reduction="none").mean(1)


def answering_state(
    network: nn.Module, params: NetworkState, support: Support
) -> dict[str, Tensor]:
    """Return the state with which `per_task` answers the queries of T adapted tasks.

    It holds the adapted parameters and, if the network normalises by support sets, their
    statistics under these parameters.
    """
    return {**params, **support_statistics(network, params, support.x)}


def _one_each(network: nn.Module, params: NetworkState, tasks: int) -> dict[str, Tensor]:
    """Return parameters [T, ...]: those that tasks share are expanded, not copied."""
    own = dict(network.named_parameters())
    for name in params:
        if name not in own:
            raise unknown("parameter of the network", name, own)
        if not params[name].requires_grad:
            raise UsageError(f"parameter '{name}' needs requires_grad=True to be adapted")
    return {
        name: value.expand(tasks, *value.shape) if value.ndim == own[name].ndim else value
        for name, value in params.items()
    }
