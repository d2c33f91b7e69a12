"""Any network applied to T tasks: mapped over them by torch or, if that fails, one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from metabench.nets.network_state import NetworkState

Found = TypeVar("Found", Tensor, dict[str, Tensor])

_EXAMPLES = (3, 1)  # numbers of examples that `is_right` tries: torch has failed with one
_STEP = 0.1
_TOLERANCE = 1e-8  # in float64

# Results of `is_right`, so that a network is tried only once in each of its modes.
_known: WeakKeyDictionary[nn.Module, dict[tuple[bool, ...], bool]] = WeakKeyDictionary()


def call(network: nn.Module, state: NetworkState, x: Tensor) -> Tensor:
    """Return a network's output with the parameters and buffers of one task."""
    # If a module occurs twice, torch's own tying of weights would leave plain tensors in place of
    # its parameters.
    everywhere = _under_every_name(network, state)
    output: Tensor = functional_call(network, everywhere, (x,), tie_weights=False)
    return output


def _under_every_name(network: nn.Module, state: NetworkState) -> dict[str, Tensor]:
    """Return a state that holds tensors shared by several modules under each of their names."""
    found, first = dict(state), dict[int, str]()
    for prefix, module in network.named_modules():  # each once
        for own, value in (*module._parameters.items(), *module._buffers.items()):
            name = f"{prefix}.{own}" if prefix else own
            shared = first.setdefault(id(value), name)
            if value is not None and shared in state:
                found.setdefault(name, state[shared])
    return found


def over_tasks(
    network: nn.Module,
    of_task: Callable[[NetworkState, Tensor], Found],
    state: NetworkState,
    x: Tensor,
) -> Found:
    """Apply a function of one task's state and examples to T tasks, and stack the results.

    Args:
        network: the network that the function applies.
        of_task: (state, x [N, *shape]) -> a tensor, or tensors by name.
        state: of T tasks.
        x: [T, N, *shape].
    """
    known = _known.setdefault(network, {})
    modes = tuple(part.training for part in network.modules())
    several = len(x) > 1  # a single task needs no mapping, so the network is not tried either
    if several and modes not in known and not torch._C._are_functorch_transforms_active():
        known[modes] = is_right(network, x)
    with _basic_attention():
        if several and known.get(modes, True):
            try:
                found: Found = vmap(of_task)(dict(state), x)
                return found
            except RuntimeError:  # such examples take another path through the network
                known[modes] = False
        return _one_by_one(of_task, state, x)


@contextmanager
def _basic_attention() -> Iterator[None]:
    """Compute attention by torch's basic operators during the block.

    Its fused kernels have no second derivative, and most of them cannot be mapped.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def is_right(network: nn.Module, x: Tensor) -> bool:
    """Return whether a network mapped over tasks gives the same as applied one by one.

    Outputs and second-order gradients of a copy in float64 are compared, on two tasks of random
    examples. A network may branch on its inputs, or use an operator that torch cannot map or
    maps wrongly. One that changes its own tensors, such as running statistics, has to see one
    task after another.
    """
    generator = torch.Generator().manual_seed(0)
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=[]),
        torch.enable_grad(),
        _basic_attention(),
    ):
        try:
            tried = copy.deepcopy(network).to("cpu", torch.float64).requires_grad_()
            shape = (_EXAMPLES[0], *x.shape[2:])
            if _changes(tried, torch.rand(shape, generator=generator, dtype=torch.float64)):
                return False
            for count in _EXAMPLES:
                shape = (2, count, *x.shape[2:])
                examples = torch.rand(shape, generator=generator, dtype=torch.float64)
                if not _agrees(tried, examples):
                    return False
        except Exception:  # whatever the error, this network is not mapped
            return False
    return True


def _changes(network: nn.Module, examples: Tensor) -> bool:
    """Return whether examples change tensors that a network keeps, other than its parameters."""
    network(examples)  # the first examples may fill a cache
    before = [(name, value.clone()) for name, value in _kept(network)]
    network(examples)
    after = _kept(network)
    return len(after) != len(before) or not all(
        name == old_name and torch.equal(value, old)
        for (name, value), (old_name, old) in zip(after, before, strict=True)
    )


def _kept(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [
        (f"{prefix}.{name}", value)
        for prefix, module in network.named_modules()
        for name, value in (*module._buffers.items(), *vars(module).items())
        if isinstance(value, Tensor)
    ]


def _agrees(network: nn.Module, examples: Tensor) -> bool:
    try:
        plain = _adapted_gradient(network, lambda f, state: _one_by_one(f, state, examples))
    except Exception:
        if examples.shape[1] == 1:  # too few to normalise by their own statistics, for instance
            return True
        raise
    mapped = _adapted_gradient(network, lambda f, state: vmap(f)(state, examples))
    return all(
        torch.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE)
        for one, other in zip(mapped, plain, strict=True)
    )


def _adapted_gradient(
    network: nn.Module,
    apply: Callable[[Callable[[NetworkState, Tensor], Tensor], NetworkState], Tensor],
) -> list[Tensor]:
    """Return outputs after a gradient step per task, and their gradient by the starting point."""

    def of_task(state: NetworkState, x: Tensor) -> Tensor:
        return call(network, state, x)

    start = dict(network.named_parameters())
    state = {name: value.expand(2, *value.shape) for name, value in start.items()}
    outputs = apply(of_task, state)
    if not start:
        return [outputs]
    grads = torch.autograd.grad(
        outputs.square().mean(), list(state.values()), create_graph=True, materialize_grads=True
    )
    moved = {
        name: value - _STEP * grad for (name, value), grad in zip(state.items(), grads, strict=True)
    }
    outputs = apply(of_task, moved)
    by_start = torch.autograd.grad(
        outputs.square().mean(), list(start.values()), materialize_grads=True
    )
    return [outputs, *by_start]


def _one_by_one(
    of_task: Callable[[NetworkState, Tensor], Found], state: NetworkState, x: Tensor
) -> Found:
    found = [
        of_task({name: value[t] for name, value in state.items()}, x[t]) for t in range(len(x))
    ]
    stacked: Found = tree_map(lambda *values: torch.stack(values), *found)
    return stacked
