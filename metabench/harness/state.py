"""A learner's state and size, read off its attributes so that authors need not write it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metabench.learner import Learner

_SCALARS = (bool, int, float)


def state_dict(learner: Learner) -> dict[str, Any]:
    """Everything the next `meta_step` needs, copied.

    That is what hangs on the learner's attributes, also in lists, tuples and dicts: everything
    with a `state_dict` of its own (modules, optimisers, schedulers), tensors, arrays and
    numbers. A learner may have `state_dict` and `load_state_dict` instead.
    """
    if _has_own(learner):
        return copy.deepcopy(dict(learner.state_dict()))  # type: ignore[attr-defined]
    state: dict[str, Any] = {}
    for name, value in _parts(learner):
        if isinstance(value, torch.Tensor):
            state[name] = value.detach().clone()
        elif isinstance(value, np.ndarray):
            state[name] = torch.from_numpy(value.copy())
        else:
            state[name] = copy.deepcopy(value.state_dict())
    numbers = {k: v for k, v in vars(learner).items() if isinstance(v, _SCALARS)}
    return {**state, **numbers}


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Put back what `state_dict` returned."""
    if _has_own(learner):
        learner.load_state_dict(copy.deepcopy(state))  # type: ignore[attr-defined]
        return
    for name, part in _parts(learner):
        saved = state[name]
        if isinstance(part, torch.Tensor):
            with torch.no_grad():
                part.copy_(saved)
        elif isinstance(part, np.ndarray):
            part[...] = saved.numpy()
        else:
            part.load_state_dict(copy.deepcopy(saved))
    for name, value in state.items():
        if isinstance(value, _SCALARS):
            setattr(learner, name, value)


def parameter_count(learner: Learner) -> int:
    """Learnable numbers in the learner's modules and tensors, each counted once."""
    found: dict[int, int] = {}
    for _, part in _parts(learner):
        if isinstance(part, torch.nn.Module):
            found |= {id(p): p.numel() for p in part.parameters()}
        elif isinstance(part, torch.Tensor) and part.requires_grad:
            found[id(part)] = part.numel()
    return sum(found.values())


def _has_own(learner: Learner) -> bool:
    # A module's own state_dict leaves out the optimiser beside it.
    return hasattr(learner, "state_dict") and not isinstance(learner, torch.nn.Module)


def _parts(learner: Learner) -> Iterator[tuple[str, Any]]:
    """Everything that has a state, with a name for it, each once."""
    seen: set[int] = set()

    def walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
        if id(value) in seen:
            return
        seen.add(id(value))
        has_state = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
        if has_state or isinstance(value, torch.Tensor | np.ndarray):
            yield name, value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from walk(f"{name}.{key}", item)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                yield from walk(f"{name}.{i}", item)

    for name, value in vars(learner).items():
        yield from walk(name, value)
