"""A learner's state and size, read off its attributes so that authors need not write it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metabench.learner import Learner

_SCALARS = (bool, int, float)
_OWN_KINDS = (torch.Tensor, np.ndarray, torch.Generator, np.random.Generator, random.Random)


def state_dict(learner: Learner) -> dict[str, Any]:
    """Everything the next `meta_step` needs, copied.

    That is what hangs on the learner's attributes, also in lists, tuples and dicts: everything
    with a `state_dict` of its own (modules, optimisers, schedulers), tensors, arrays, random
    generators and numbers. A learner may have `state_dict` and `load_state_dict` instead.
    """
    if _has_own(learner):
        return copy.deepcopy(dict(learner.state_dict()))  # type: ignore[attr-defined]
    state = {name: _saved(part) for name, part in _parts(learner)}
    numbers = {k: v for k, v in vars(learner).items() if isinstance(v, _SCALARS)}
    return {**state, **numbers}


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Put back what `state_dict` returned."""
    if _has_own(learner):
        learner.load_state_dict(copy.deepcopy(state))  # type: ignore[attr-defined]
        return
    for name, part in _parts(learner):
        _put_back(part, state[name])
    for name, value in state.items():
        if isinstance(value, _SCALARS):
            setattr(learner, name, value)


def fits(learner: Learner, state: dict[str, Any]) -> bool:
    """Whether a state has all that the learner has, and nothing that the learner lacks.

    An optimiser that is only made in the first update would be lost without a word.
    """
    own = state_dict(learner)
    return own.keys() == state.keys() and all(
        not isinstance(value, torch.Tensor) or value.shape == state[name].shape
        for name, value in own.items()
    )


def plain(value: Any) -> Any:
    """The value with tensors for its arrays, which may then be read with `weights_only`."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def arrays(value: Any) -> Any:
    """What `plain` was given."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: arrays(item) for key, item in value.items()}
    return value


def parameter_count(learner: Learner) -> int:
    """Learnable numbers in the learner's modules and tensors, each counted once."""
    found: dict[int, int] = {}
    for _, part in _parts(learner):
        if isinstance(part, torch.nn.Module):
            found |= {id(p): p.numel() for p in part.parameters()}
        elif isinstance(part, torch.Tensor) and part.requires_grad:
            found[id(part)] = part.numel()
    return sum(found.values())


def _saved(part: Any) -> Any:
    if isinstance(part, torch.Tensor):
        return part.detach().clone()
    if isinstance(part, np.ndarray):
        return plain(part)
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, np.random.Generator):
        return plain(part.bit_generator.state)
    if isinstance(part, random.Random):
        return part.getstate()
    return copy.deepcopy(part.state_dict())


def _put_back(part: Any, saved: Any) -> None:
    if isinstance(part, torch.Tensor):
        with torch.no_grad():
            part.copy_(saved)
    elif isinstance(part, np.ndarray):
        part[...] = arrays(saved)
    elif isinstance(part, torch.Generator):
        part.set_state(saved)
    elif isinstance(part, np.random.Generator):
        part.bit_generator.state = arrays(saved)
    elif isinstance(part, random.Random):
        part.setstate(saved)
    else:
        part.load_state_dict(copy.deepcopy(saved))


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
        if has_state or isinstance(value, _OWN_KINDS):
            yield name, value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from walk(f"{name}.{key}", item)
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                yield from walk(f"{name}.{i}", item)

    for name, value in vars(learner).items():
        yield from walk(name, value)
