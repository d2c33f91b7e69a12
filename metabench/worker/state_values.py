"""One value in a learner's state: its kind, its contents, and how it is saved and restored."""

from __future__ import annotations

import array
import copy
import io
import random
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter, is_lazy

from metabench.learner import Learner
from metabench.plugins.modules import FILE_PREFIX

PLAIN = (bool, int, float, complex, str, bytes, type(None))
# Equal ones may be the same object by accident.
IMMUTABLE = (*PLAIN, np.generic, tuple, frozenset, Enum)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_FILES = (io.TextIOWrapper, io.BufferedWriter)  # such as sys.stderr, or a log
_NAMED = (type, FunctionType, BuiltinFunctionType)
# Objects of these packages that have no `state_dict` are taken for configuration.
_OPAQUE = frozenset({"torch", "numpy", "metabench", "builtins", *sys.stdlib_module_names})
OF_EVERY_MODULE = frozenset({"training", "_parameters", "_buffers", "_modules"})
# Attributes of a module that are not state, such as its hooks.
_MODULE_INTERNALS = {*vars(torch.nn.Module()), "_initialize_hook", "_load_hook"} - OF_EVERY_MODULE
# A module whose class defines one of these has state that its attributes do not show.
_CUSTOM = (
    *("state_dict", "load_state_dict", "get_extra_state", "set_extra_state"),
    "_save_to_state_dict",
)
_CONTAINERS = (dict, list, tuple, deque, set, frozenset)
_IGNORED = {"_metadata"}  # the attribute of a module's `state_dict`: versions of its modules
_INSTEAD = (
    (Iterator, "a list and an index"),
    (set | frozenset | deque | array.array, "a list"),
    (bytearray, "bytes"),
    (np.ndarray | np.generic, "a list, or an array of numbers"),
    (dict, "a plain dict whose keys are numbers or texts"),
    (list | tuple, "a plain list or tuple"),
)


class _Plain:
    """A class whose objects have nothing but the attributes in their `__dict__`."""


def is_plain(value: Any) -> bool:
    """Return whether a value is, or holds, nothing but numbers and texts."""
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple):
        return all(map(is_plain, value))
    return type(value) in PLAIN


def has_state(value: Any) -> bool:
    """Return whether a value saves and restores its state itself.

    torch's own `state_dict` of modules does not count: it leaves out modes, gradients, plain
    attributes and buffers that are not persistent, and that of a learner the optimiser as well.
    """
    if isinstance(value, torch.nn.Module):
        custom = (getattr(type(value), m) is not getattr(torch.nn.Module, m) for m in _CUSTOM)
        return not isinstance(value, Learner | LazyModuleMixin) and any(custom)
    # Of the class, because objects may give every attribute a value, or an error of their own.
    methods = (getattr(type(value), name, None) for name in ("state_dict", "load_state_dict"))
    return all(map(callable, methods))


def is_leaf(value: Any) -> bool:
    """Return whether a value is saved as a whole, not by its contents."""
    if isinstance(value, Enum):
        return is_plain(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc" and value.dtype.isnative and value.dtype.char not in "gG"
    if isinstance(value, dict | list | deque | set | frozenset):
        return not refusal(value) and is_plain(_built_in(value))
    return isinstance(value, (torch.Tensor, *_GENERATORS)) or has_state(value) or is_plain(value)


def refusal(value: Any) -> str:
    """Return what to use instead of a value that is not a leaf, if its state cannot be saved.

    Returns:
        "" for containers, plain objects, and configuration: functions, classes, open files, and
        objects of torch, NumPy, metabench or the standard library.
    """
    if isinstance(value, (*_NAMED, Enum, SimpleNamespace, *_FILES)):
        return ""
    if isinstance(value, _CONTAINERS) and getattr(value, "__dict__", {}).keys() <= _IGNORED:
        if isinstance(value, dict):
            return "" if all(map(is_plain, value)) else "numbers or texts as its keys"
        return "a list" if isinstance(value, set | frozenset) and not is_plain([*value]) else ""
    for types, instead in _INSTEAD:
        if isinstance(value, types):
            return instead
    if not _has_own_attributes(value):
        return ""
    # With __slots__, or fields of a C extension, objects are larger or have no other attributes.
    if hasattr(value, "__dict__") and type(value).__basicsize__ <= _Plain.__basicsize__:
        return ""
    return "an object of a Python class without __slots__"


def contents(value: Any) -> dict[Any, Any] | None:
    """Return the contents of a container or plain object by key, index or attribute.

    Returns:
        None if it is neither.
    """
    if refusal(value):
        return None
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list | tuple | deque):
        return dict(enumerate(value))
    if not _has_own_attributes(value):
        return None
    hidden = _MODULE_INTERNALS if isinstance(value, torch.nn.Module) else ()
    return {name: item for name, item in vars(value).items() if name not in hidden}


def filled(value: Any, items: dict[Any, Any]) -> Any:
    """Replace the contents of a container or plain object.

    Returns:
        The same object; for tuples, which cannot change, a new one.
    """
    if isinstance(value, tuple):
        return getattr(value, "_make", type(value))(items.values())  # `_make`: a named tuple
    if isinstance(value, dict):
        value.clear()
        value.update(items)
    elif isinstance(value, list | deque):
        value.clear()
        value.extend(items.values())
    else:  # bypassing `__setattr__`, which frozen dataclasses and modules define
        for name in (contents(value) or {}).keys() - items.keys():
            del vars(value)[name]
        vars(value).update(items)
    return value


def kind(value: Any) -> str:
    """Return a name for the type; for constants, such as functions, a name for the value.

    Numbers, texts and None share one, because they may replace each other.
    """
    if type(value) in PLAIN or isinstance(value, np.generic):
        return "plain"
    if isinstance(value, torch.dtype):
        return str(value)
    if isinstance(value, LazyModuleMixin) and value.cls_to_become is not None:  # at its first call
        return str(value.cls_to_become.__qualname__)
    if is_lazy(value):
        return "Parameter" if isinstance(value, UninitializedParameter) else "Tensor"
    return str((value if isinstance(value, _NAMED) else type(value)).__qualname__)


def saved(value: Any) -> Any:
    """Copy the state of a leaf as tensors and plain values."""
    if isinstance(value, torch.Tensor):
        return None if is_lazy(value) else value.detach().clone()
    if isinstance(value, np.ndarray | np.generic):
        return to_tensors(np.asarray(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return to_tensors(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return to_tensors(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return value.getstate()
    return copy.deepcopy(value.state_dict() if has_state(value) else _built_in(value))


def restored(value: Any, state: Any) -> Any:
    """Restore a saved state into a leaf of the same kind.

    Returns:
        The same object wherever it can take the state, because optimisers hold parameters and
        CUDA graphs hold addresses; otherwise a new one.
    """
    if isinstance(value, torch.Tensor):
        return _restored_tensor(value, state)
    if isinstance(value, np.ndarray):
        return _restored_array(value, to_arrays(state))
    if isinstance(value, Enum | frozenset):
        return type(value)(state)
    if isinstance(value, torch.Generator):
        value.set_state(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = to_arrays(state)
    elif isinstance(value, np.random.RandomState):
        value.set_state(to_arrays(state))
    elif isinstance(value, random.Random):
        value.setstate(state)
    elif has_state(value):
        value.load_state_dict(copy.deepcopy(state))
    elif isinstance(value, list | deque):
        filled(value, dict(enumerate(copy.deepcopy(state))))
    elif isinstance(value, dict | set):
        value.clear()
        value.update(copy.deepcopy(state))
    else:
        return recreated({"kind": kind(value)}, state)
    return value


def recreated(node: Mapping[str, Any], state: Any) -> Any:
    """Make a leaf or container that no longer exists again.

    Args:
        node: its description in the outline of the learner.
        state: as saved.

    Raises:
        TypeError: only the learner itself can make one.
    """
    name = node["kind"]
    if name in ("Tensor", "Parameter"):
        tensor = state.to(node["device"], copy=True)
        tensor = tensor if name == "Tensor" else torch.nn.Parameter(tensor)
        return tensor.requires_grad_(node["requires_grad"])
    if name == "ndarray":
        return to_arrays(state).copy()
    if name == "plain":
        return to_arrays(state)[()] if isinstance(state, torch.Tensor) else state
    for known in (list, tuple, dict, set, frozenset):
        if name == known.__name__:
            return known(copy.deepcopy(state))
    raise TypeError("it no longer exists, and metabench cannot make it again")


def to_tensors(value: Any) -> Any:
    """Replace arrays by tensors, so that `weights_only` can read the value."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: to_tensors(item) for key, item in value.items()}
    return value


def to_arrays(value: Any) -> Any:
    """Undo `to_tensors`: replace tensors by arrays."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: to_arrays(item) for key, item in value.items()}
    return value


def _has_own_attributes(value: Any) -> bool:
    """Return whether a value's attributes are state, as in a plugin's own classes."""
    if isinstance(value, Learner | SimpleNamespace | torch.nn.Module):
        return True
    module = type(value).__module__
    package = FILE_PREFIX if module.startswith(FILE_PREFIX) else module.partition(".")[0]
    return package not in _OPAQUE and not isinstance(value, (*_NAMED, Enum))


def is_installed(found: type) -> bool:
    """Return whether a class is of an installed package, or of metabench."""
    file = getattr(sys.modules.get(found.__module__), "__file__", None) or ""
    return found.__module__.partition(".")[0] in _OPAQUE or bool(
        {"site-packages", "dist-packages"} & {*Path(file).parts}
    )


def _built_in(value: Any) -> Any:
    """Return a dict, also of a subclass, as a plain dict, other containers as a list."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list | deque | set | frozenset) else value


def _restored_tensor(value: torch.Tensor, state: torch.Tensor | None) -> torch.Tensor:
    if state is None and is_lazy(value):
        return value
    if state is None:
        raise TypeError("it had no shape when it was saved")
    if is_lazy(value):
        value.materialize(state.shape, dtype=state.dtype)
    if (value.shape, value.dtype) == (state.shape, state.dtype):
        try:
            with torch.no_grad():
                return value.copy_(state)
        except RuntimeError:  # an expanded tensor, or one made in inference mode
            pass
    new = state.to(value.device, copy=True)
    if isinstance(value, torch.nn.Parameter):  # of a layer that has grown; optimisers hold it
        value.data, value.grad = new, None
        return value
    return new.requires_grad_(value.requires_grad and new.is_floating_point())


def _restored_array(value: np.ndarray, state: np.ndarray) -> np.ndarray:
    if (value.shape, value.dtype) != (state.shape, state.dtype) or not value.flags.writeable:
        return state.copy()
    value[...] = state
    return value
