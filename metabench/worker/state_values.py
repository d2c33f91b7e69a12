"""One value of a learner's state: saved as tensors and plain values, and restored."""

from __future__ import annotations

import array
import copy
import random
from collections import deque
from collections.abc import Iterator
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_NAMED = (type, FunctionType, BuiltinFunctionType)
_SETS = (set, frozenset)
# Data that would otherwise pass for a library's object, which is assumed not to change.
_UNSAVED = (Iterator, set, frozenset, bytearray, array.array)


def is_plain(value: Any) -> bool:
    """Return whether a value is, or holds, nothing but numbers and texts."""
    if type(value) is dict:
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if type(value) in (list, tuple, set):
        return all(map(is_plain, value))
    return type(value) in PLAIN


def is_leaf(value: Any) -> bool:
    """Return whether a value is saved as a whole; the contents of others are examined."""
    if isinstance(value, Enum):
        return is_plain(value.value)
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic, *_GENERATORS)):
        return True
    return _has_state(value) or is_plain(value) or _is_plain_container(value)


def is_lost(value: Any) -> bool:
    """Return whether a value that is not a leaf is of a kind whose state cannot be saved."""
    return isinstance(value, _UNSAVED)


def is_kept_plain(value: Any) -> bool:
    """Return whether a leaf is saved as tensors and plain values, as files require."""
    if isinstance(value, np.ndarray):
        return _torch_holds(value) or _holds_texts(value)
    return not isinstance(value, np.generic) or is_plain(value.item())


def kind(value: Any) -> str:
    """Return a name for the type; plain types share one, because they may replace each other."""
    if type(value) in PLAIN:
        return "plain"
    if isinstance(value, torch.dtype):
        return str(value)
    if isinstance(value, LazyModuleMixin):  # the first batch changes its class
        return str((value.cls_to_become or type(value)).__qualname__)
    if isinstance(value, np.generic):
        return f"numpy.{value.dtype.str}"
    return str((value if isinstance(value, _NAMED) else type(value)).__qualname__)


def saved(value: Any) -> Any:
    """Copy the state of a leaf, so that it does not change with the leaf."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return _saved_array(value)
    if isinstance(value, Enum):
        return value.value
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
    if _has_state(value):
        return copy.deepcopy(value.state_dict())
    if isinstance(value, (list, deque, *_SETS)):
        return copy.deepcopy(list(value))
    return copy.deepcopy(dict(value) if isinstance(value, dict) else value)


def put_back(value: Any, state: Any) -> Any:
    """Restore a saved state into a leaf of the same kind.

    Returns:
        The value to use in its place: the same object wherever it can take the state, because
        optimisers hold parameters and CUDA graphs hold addresses.
    """
    if isinstance(value, torch.Tensor):
        return _put_tensor(value, state)
    if isinstance(value, np.ndarray):
        return _put_array(value, state)
    if isinstance(value, Enum):
        return type(value)(state)
    if isinstance(value, np.generic):
        return np.array(state, value.dtype)[()]
    if isinstance(value, torch.Generator):
        value.set_state(state)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = arrays(state)
    elif isinstance(value, np.random.RandomState):
        value.set_state(arrays(state))
    elif isinstance(value, random.Random):
        value.setstate(state)
    elif _has_state(value):
        _fit_shapes(value, state)
        value.load_state_dict(copy.deepcopy(state))
    elif isinstance(value, frozenset):
        return type(value)(state)
    elif isinstance(value, list):
        value[:] = copy.deepcopy(state)
    elif isinstance(value, set | dict | deque):
        value.clear()
        fill = value.extend if isinstance(value, deque) else value.update
        fill(copy.deepcopy(state))
    else:
        return copy.deepcopy(state)
    return value


def made(name: str, state: Any) -> Any:
    """Make a new leaf of a kind, in place of one that is gone.

    Raises:
        TypeError: only the learner itself can make one.
    """
    if name.startswith("numpy."):
        return np.array(state, name.removeprefix("numpy."))[()]
    if name == "ndarray":
        return _read_array(state)
    if name == "Tensor":
        return state.clone()
    if name == "Parameter":
        return torch.nn.Parameter(state.clone())
    known = {kind.__name__: kind for kind in (list, dict, *_SETS)}
    if name in known:
        return known[name](copy.deepcopy(state))
    if name in ("plain", "tuple"):
        return copy.deepcopy(state)
    raise TypeError("it is gone, and only the learner can make one")


def apart(value: Any) -> Any:
    """Make another leaf of the same kind, which shares no memory with the first."""
    if isinstance(value, torch.Tensor):
        return _like(value, value)
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device)
    return copy.deepcopy(value)


def plain(value: Any) -> Any:
    """Replace arrays by tensors, so that `weights_only` can read the value."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def arrays(value: Any) -> Any:
    """Undo `plain`: replace tensors by arrays."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, dict):
        return {key: arrays(item) for key, item in value.items()}
    return value


def _has_state(value: Any) -> bool:
    if isinstance(value, type):  # its instances have a state, the class has none
        return False
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


def _is_plain_container(value: Any) -> bool:
    if getattr(value, "__dict__", None):  # a subclass whose attributes are state as well
        return False
    if isinstance(value, dict):
        return is_plain(dict(value))
    return isinstance(value, (list, deque, *_SETS)) and all(map(is_plain, value))


def _like(value: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    new = state.detach().to(value.device, copy=True)
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(new, requires_grad=value.requires_grad)
    return new.requires_grad_(value.requires_grad and (new.is_floating_point() or new.is_complex()))


def _put_tensor(value: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    if not _same_form(value, state) or value.is_inference() or _is_expanded(value):
        return _like(value, state)  # `copy_` would broadcast and round, or refuse
    with torch.no_grad():
        return value.copy_(state)


def _is_expanded(value: torch.Tensor) -> bool:
    strided = value.layout == torch.strided
    return strided and any(
        n > 1 and not step for n, step in zip(value.shape, value.stride(), strict=True)
    )


def _fit_shapes(module: Any, state: Any) -> None:
    """Give a module's tensors the shapes of the state, for instance of a head that has grown."""
    if not isinstance(module, torch.nn.Module):
        return
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        then = state.get(name)
        if then is None or is_lazy(tensor) or _same_form(tensor, then):
            continue
        tensor.data, tensor.grad = then.to(tensor.device, copy=True), None


def _same_form(one: Any, other: Any) -> bool:
    return bool((one.shape, one.dtype) == (other.shape, other.dtype))


def _torch_holds(value: np.ndarray) -> bool:
    try:
        torch.from_numpy(value[..., None][:0].copy())
    except (TypeError, ValueError):
        return False
    return True


def _holds_texts(value: np.ndarray) -> bool:
    return value.dtype.kind in "USO" and is_plain(value.tolist())


def _saved_array(value: np.ndarray) -> Any:
    if _torch_holds(value):
        return plain(value)
    if _holds_texts(value):  # their lengths are in the dtype
        return value.dtype.str, tuple(value.shape), value.flatten().tolist()
    return copy.deepcopy(value)


def _read_array(state: Any) -> np.ndarray:
    if isinstance(state, torch.Tensor):
        return state.numpy().copy()
    if isinstance(state, np.ndarray):
        return copy.deepcopy(state)
    dtype, shape, items = state
    flat = np.empty(len(items), dtype)
    for i, item in enumerate(copy.deepcopy(items)):  # items may be lists, in arrays of objects
        flat[i] = item
    return flat.reshape(shape)


def _put_array(value: np.ndarray, state: Any) -> np.ndarray:
    new = _read_array(state)
    if not _same_form(value, new) or not value.flags.writeable:
        return new
    value[...] = new
    return value
