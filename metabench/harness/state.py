"""A learner's state and size, read off its attributes so that authors need not write it."""

from __future__ import annotations

import copy
import random
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from metabench.learner import Learner

_PLAIN = (bool, int, float, str, type(None))
_OWN_KINDS = (
    *(torch.Tensor, np.ndarray, random.Random),
    *(torch.Generator, np.random.Generator, np.random.RandomState),
)
# Objects of these packages that have no `state_dict` are not looked into.
_CLOSED = frozenset({"torch", "numpy", "metabench", "builtins", *sys.stdlib_module_names})


class Part(NamedTuple):
    """Something that has a state: its name, itself, and how another is put in its place."""

    name: str
    value: Any
    replace: Callable[[Any], None]


def state_dict(learner: Learner) -> dict[str, Any]:
    """Everything the next `meta_step` needs, copied, as tensors and plain values.

    That is what hangs on the learner's attributes, also in lists, tuples, dicts, sets, deques
    and objects of the plugin's own classes: everything with a `state_dict` of its own (modules,
    optimisers, schedulers), tensors, arrays, random generators, numbers and texts. A learner
    may have `state_dict` and `load_state_dict` instead.
    """
    if _has_own(learner):
        return copy.deepcopy(dict(learner.state_dict()))  # type: ignore[attr-defined]
    return {part.name: _saved(part.value) for part in parts(learner)}


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Put back what `state_dict` returned."""
    if _has_own(learner):
        learner.load_state_dict(copy.deepcopy(state))  # type: ignore[attr-defined]
        return
    for part in list(parts(learner)):
        if part.name in state:  # else it came up later, and the state did without it
            _put_back(part, state[part.name])


def fits(learner: Learner, state: dict[str, Any]) -> bool:
    """Whether a state has all that the learner has, and nothing that the learner lacks.

    An optimiser that is only made in the first update would be lost without a word.
    """
    own = state_dict(learner)
    return own.keys() == state.keys() and all(
        _alike(value, state[name]) for name, value in own.items()
    )


def _alike(own: Any, saved: Any) -> bool:
    if isinstance(own, torch.Tensor) and isinstance(saved, torch.Tensor):
        return own.shape == saved.shape
    if isinstance(own, _PLAIN):  # None may have become a number or a tensor, not an optimiser
        return isinstance(saved, (*_PLAIN, torch.Tensor))
    return type(own) is type(saved)


def unsaved(learner: Learner) -> list[str]:
    """Attributes whose state cannot be had: iterators, and objects of C extensions."""
    if _has_own(learner):
        return []
    return [name for name, value in vars(learner).items() if _is_opaque(value)]


def _is_opaque(value: Any) -> bool:
    if isinstance(value, Iterator):
        return True
    known = bool(getattr(value, "__dict__", {})) or hasattr(value, "state_dict")
    walked = isinstance(value, (*_OWN_KINDS, tuple, list, dict, set, deque))
    return not known and not walked and _is_open(value)


def parameter_count(learner: Learner) -> int:
    """Learnable numbers in the learner's modules and tensors, each counted once."""
    found: dict[int, int] = {}
    for _, value, _ in parts(learner):
        if isinstance(value, torch.nn.Module):
            found |= {id(p): p.numel() for p in value.parameters()}
        elif isinstance(value, torch.Tensor) and value.requires_grad:
            found[id(value)] = value.numel()
    return sum(found.values())


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


def _saved(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return plain(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return plain(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return plain(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, deque | set):
        return list(value)
    if isinstance(value, dict):
        return copy.deepcopy(dict(value))
    if isinstance(value, (*_PLAIN, list, tuple)):
        return copy.deepcopy(value)
    return copy.deepcopy(value.state_dict())


def _put_back(part: Part, saved: Any) -> None:
    value = part.value
    if isinstance(saved, _PLAIN) and not isinstance(value, np.generic):
        part.replace(saved)
    elif isinstance(value, _PLAIN):
        part.replace(saved.clone() if isinstance(saved, torch.Tensor) else copy.deepcopy(saved))
    elif isinstance(value, torch.Tensor):
        with torch.no_grad():
            value.copy_(saved)
    elif isinstance(value, np.ndarray):
        value[...] = arrays(saved)
    elif isinstance(value, np.generic):
        part.replace(type(value)(saved))
    elif isinstance(value, torch.Generator):
        value.set_state(saved)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = arrays(saved)
    elif isinstance(value, np.random.RandomState):
        value.set_state(arrays(saved))
    elif isinstance(value, random.Random):
        value.setstate(saved)
    elif isinstance(value, set):
        value.clear()
        value.update(saved)
    elif isinstance(value, list):
        value[:] = copy.deepcopy(saved)
    elif isinstance(value, dict):
        value.clear()
        value.update(copy.deepcopy(saved))
    elif isinstance(value, deque):
        value.clear()
        value.extend(copy.deepcopy(saved))
    elif isinstance(value, tuple):
        part.replace(copy.deepcopy(saved))
    else:
        value.load_state_dict(copy.deepcopy(saved))


def _has_own(learner: Learner) -> bool:
    # A module's own state_dict leaves out the optimiser beside it.
    return hasattr(learner, "state_dict") and not isinstance(learner, torch.nn.Module)


def parts(learner: Learner) -> Iterator[Part]:
    """Everything that has a state, each once, with a name for it."""
    seen: set[int] = {id(learner)}

    def walk(name: str, value: Any, replace: Callable[[Any], None]) -> Iterator[Part]:
        if not isinstance(value, _PLAIN):
            if id(value) in seen:
                return
            seen.add(id(value))
        has_state = hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
        if has_state or isinstance(value, (*_OWN_KINDS, np.generic)) or _is_plain(value):
            yield Part(name, value, replace)
        elif isinstance(value, dict):
            for key in list(value):
                yield from walk(f"{name}.{key}", value[key], _item_setter(value, key))
        elif isinstance(value, list | deque):
            for i, item in enumerate(value):
                yield from walk(f"{name}.{i}", item, _item_setter(value, i))
        elif isinstance(value, tuple):  # its own items cannot be replaced, only what is in them
            for i, item in enumerate(value):
                yield from walk(f"{name}.{i}", item, lambda _: None)
        elif hasattr(value, "__dict__") and _is_open(value):
            yield from attributes(value, f"{name}.")

    def attributes(of: Any, prefix: str) -> Iterator[Part]:
        for key, value in list(vars(of).items()):
            # A learner that is a module keeps its layers in hidden dicts; they are its own.
            yield from walk(f"{prefix}{key}", value, _attribute_setter(of, key))

    yield from attributes(learner, "")


def _is_plain(value: Any) -> bool:
    """Whether a value is, or holds, nothing but numbers and texts: it is saved as a whole."""
    if isinstance(value, dict):
        return all(isinstance(key, _PLAIN) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | deque | set):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN


def _is_open(value: Any) -> bool:
    """Whether an object's attributes are a state: those of the plugin's own classes are."""
    kind = type(value)
    return kind is not type and kind.__module__.partition(".")[0] not in _CLOSED


def _item_setter(container: Any, key: Any) -> Callable[[Any], None]:
    return lambda value: container.__setitem__(key, value)


def _attribute_setter(of: Any, name: str) -> Callable[[Any], None]:
    return lambda value: vars(of).__setitem__(name, value)
