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
from metabench.nets.labels import are_labels, check_labels
from metabench.nets.network_state import NetworkState
from metabench.nets.per_task import outputs_on, support_statistics
from metabench.nets.step_sizes import StepSize, step_sizes

_NO_LABEL = -(2**62)  # in place of -100, which cross-entropy would leave out without a word


@torch.enable_grad()
def sgd_steps(
    network: nn.Module,
    params: NetworkState,
    support: Support,
    lr: StepSize | Mapping[str, StepSize],
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
        support: x [T, S, *shape], y [T, S] labels of any integer type, or [T, S, 1] float.
        lr: the step size alpha, a number or a tensor of one; or one for each parameter, which may
            also be a tensor of its shape (Meta-SGD).
        steps: number of steps; with 0 every task gets the parameters as they are.
        second_order: differentiate through the gradients of the steps; otherwise these count as
            constants (first-order MAML).

    Returns:
        The adapted parameters [T, ...] by name. Autograd tracks them back to `params` and `lr`:
        detach those that are only used to predict.

    Raises:
        UsageError: the support set is that of one task, its y is neither labels nor values, or a
            label is no class of the network; a name belongs to no parameter; a parameter has
            another shape, does not require gradients or has no step size; `lr` or `steps` is no
            such number.

    References:
        Finn, Abbeel and Levine 2017, section 2.2, algorithm 2, and section 5.2 for first order
        (arXiv:1703.03400);
        Li et al. 2017, equation 2 (arXiv:1707.09835), for step sizes by parameter.
    """
    _check_targets(support.y)
    if not hasattr(steps, "__index__") or steps < 0:  # NumPy's whole numbers have it too
        raise UsageError(f"steps={steps!r}: the inner loop takes a whole number of at least 0")
    rates = step_sizes(network, params, lr)
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
            name: _step(value, grad, rates[name])
            for (name, value), grad in zip(adapted.items(), grads, strict=True)
        }
    return adapted


def _step(value: Tensor, grad: Tensor, lr: StepSize) -> Tensor:
    """Return value - lr * grad, computed in one pass."""
    if isinstance(lr, Tensor):
        return torch.addcmul(value, lr, grad, value=-1)
    return torch.sub(value, grad, alpha=lr)


def task_losses(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean loss of each task: cross-entropy, or squared error if `y` is float.

    Floats in several columns are refused: class probabilities and several values take different
    losses.

    Args:
        outputs: [T, N, way] logits, or [T, N, 1] values.
        y: [T, N] labels of any integer type, or [T, N, 1] float.

    Returns:
        [T].

    Raises:
        UsageError: `y` is neither of these, a label is outside 0..way-1, or there is not one
            output for each label or target.
    """
    _check_targets(y)
    if y.is_floating_point():
        if outputs.shape != y.shape:  # subtraction would broadcast
            raise UsageError(f"outputs {list(outputs.shape)} for values {list(y.shape)}")
        return (outputs - y).square().mean((1, 2))
    if outputs.shape[:-1] != y.shape:
        raise UsageError(f"outputs {list(outputs.shape)} for labels {list(y.shape)}")
    try:
        losses = F.cross_entropy(
            outputs.transpose(1, 2), y.long(), reduction="none", ignore_index=_NO_LABEL
        )
    except IndexError:  # of a label; checking first would take time in every step
        check_labels(y, outputs.shape[2])
        raise
    return losses.mean(1)


def _check_targets(y: Tensor) -> None:
    labels = are_labels(y) and y.ndim == 2
    values = y.is_floating_point() and y.ndim == 3
    if values and y.shape[2] > 1:
        raise UsageError(
            f"y of shape {list(y.shape)} and {y.dtype} may be class probabilities or "
            f"{y.shape[2]} values: pass labels [T, N], such as y.argmax(-1) of one-hot labels, or "
            "write the loss yourself"
        )
    if not labels and not values:
        raise UsageError(
            f"y of shape {list(y.shape)} and {y.dtype}: T tasks have integer labels [T, N], "
            "or values [T, N, 1] of a float type"
        )


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
