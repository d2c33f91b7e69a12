"""A learner's state and size, read off its attributes so that authors need not write it."""

from __future__ import annotations

import copy
from typing import Any

import torch

from metabench.learner import Learner


def state_dict(learner: Learner) -> dict[str, Any]:
    """Everything the next `meta_step` needs, copied.

    That is every attribute with a `state_dict` of its own (modules, optimisers,
    schedulers) and every tensor; or what the learner's own `state_dict()` returns.
    """
    own = getattr(learner, "state_dict", None)
    if own is not None:
        return copy.deepcopy(dict(own()))
    state: dict[str, Any] = {}
    for name, value in vars(learner).items():
        if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            state[name] = copy.deepcopy(value.state_dict())
        elif isinstance(value, torch.Tensor):
            state[name] = value.detach().clone()
    return state


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Put back what `state_dict` returned."""
    own = getattr(learner, "load_state_dict", None)
    if own is not None:
        own(copy.deepcopy(state))
        return
    for name, value in state.items():
        current = getattr(learner, name)
        if isinstance(value, torch.Tensor):
            with torch.no_grad():
                current.copy_(value)
        else:
            current.load_state_dict(copy.deepcopy(value))


def parameter_count(learner: Learner) -> int:
    """Learnable numbers in the learner's modules and parameter tensors, each counted once."""
    found: dict[int, int] = {}
    for value in vars(learner).values():
        if isinstance(value, torch.nn.Module):
            found |= {id(p): p.numel() for p in value.parameters()}
        elif isinstance(value, torch.Tensor) and value.requires_grad:
            found[id(value)] = value.numel()
    return sum(found.values())
