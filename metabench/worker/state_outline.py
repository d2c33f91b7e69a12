"""The outline of a learner: its attributes and everything inside them, by name."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from enum import Enum
from types import MemberDescriptorType
from typing import Any, NamedTuple

import numpy as np
import torch

from metabench.learner import Learner
from metabench.worker import state_values

LEARNER = ""  # the name of the learner itself

# Objects of these packages that have no `state_dict` are not examined.
_CLOSED = frozenset({"torch", "numpy", "metabench", "builtins", *sys.stdlib_module_names})

Node = dict[str, Any]


class Part(NamedTuple):
    """One part of a learner.

    Attributes:
        name: the path from the learner to it.
        value: the part itself.
        node: a description in plain values. `kind`: its type. `keys`: its contents, unless it
            is saved as a whole. `over`: earlier names whose memory it also uses. `lost`: its
            state cannot be saved. Or only `same`: an earlier name of the same object.
    """

    name: str
    value: Any
    node: Node

    @property
    def has_content(self) -> bool:
        """True if it is saved as a whole, under its name."""
        return self.node.keys().isdisjoint({"keys", "same"}) and state_values.is_leaf(self.value)

    @property
    def is_lost(self) -> bool:
        """True if its state, or some of it, cannot be saved."""
        return bool(self.node.get("lost"))


def walk(learner: Learner) -> Iterator[Part]:
    """Iterate over all parts of a learner, the learner itself first."""
    claims: dict[Any, str] = {}

    def step(name: str, value: Any) -> Iterator[Part]:
        keys = memory(value)
        if keys and keys[0] in claims:
            yield Part(name, value, {"same": claims[keys[0]]})
            return
        node: Node = {"kind": state_values.kind(value)}
        shared = {claims[key] for key in keys if key in claims}
        if shared:
            node["over"] = sorted(shared)
        for key in keys:
            claims.setdefault(key, name)
        inside = contents(value) if name == LEARNER or not state_values.is_leaf(value) else None
        if inside is not None:
            node["keys"] = list(inside)
        if name != LEARNER and not state_values.is_leaf(value) and _is_lost(value, inside):
            node["lost"] = True
        yield Part(name, value, node)
        for key, item in (inside or {}).items():
            yield from step(joined(name, key), item)

    return step(LEARNER, learner)


def contents(value: Any) -> dict[Any, Any] | None:
    """Return the contents of a container or object by key, index or attribute, or None.

    None means that it has no contents, or that they are not examined.
    """
    if isinstance(value, dict):
        return dict(value) if all(map(state_values.is_plain, value)) else None
    if isinstance(value, list | tuple | deque):
        return dict(enumerate(value))
    if isinstance(value, Enum) or not (isinstance(value, Learner) or _is_open(value)):
        return None
    slots = {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)}
    found = {**getattr(value, "__dict__", {}), **slots}
    return found or None


def filled(value: Any, items: dict[Any, Any]) -> Any:
    """Replace the contents of a container or an object.

    Returns:
        The same object; for tuples, which cannot be changed, a new one.
    """
    now = contents(value) or {}
    if list(now) == list(items) and all(now[key] is items[key] for key in now):
        return value
    if isinstance(value, tuple):
        named = hasattr(value, "_fields")
        return type(value)(*items.values()) if named else type(value)(items.values())
    if isinstance(value, dict):
        value.clear()
        value.update(items)
    elif isinstance(value, list | deque):
        value.clear()
        value.extend(items.values())
    else:
        _fill_attributes(value, now, items)
    return value


def empty(kind: str) -> Any:
    """Make a new container of a kind, in place of one that is gone.

    Raises:
        TypeError: only the learner itself can make one.
    """
    for known in (list, dict, tuple):
        if kind == known.__name__:
            return known()
    raise TypeError("it is gone, and only the learner can make one")


def joined(name: str, key: Any) -> str:
    """Return the name of a container's item; no two keys give the same name."""
    if name == LEARNER:
        return str(key)
    simple = key.isidentifier() if isinstance(key, str) else type(key) is int
    return f"{name}.{key}" if simple else f"{name}[{key!r}]"


def memory(value: Any) -> list[Any]:
    """Return keys: the first for the object itself, the others for the memory that it uses.

    Two names with the same first key are one object; with another key in common, they share
    memory. Immutable values have no keys: if two of them are one object, that is an accident.
    """
    if type(value) in state_values.PLAIN or isinstance(value, (np.generic, tuple, frozenset, Enum)):
        return []
    if not _is_open(value) and not _is_state(value):
        return []
    return [id(value), *(key for key in map(_address, _tensors(value)) if key is not None)]


def _is_state(value: Any) -> bool:
    return state_values.is_leaf(value) or isinstance(value, dict | list | deque)


def _tensors(value: Any) -> list[Any]:
    """List the tensors, or the array, whose memory a value uses.

    A learner has none of its own here: its tensors are parts themselves.
    """
    if isinstance(value, torch.nn.Module) and not isinstance(value, Learner):
        return [*value.parameters(), *value.buffers()]
    return [value] if isinstance(value, torch.Tensor | np.ndarray) else []


def _address(value: Any) -> tuple[str, int] | None:
    """Return the address of the first number; views that begin elsewhere often do not overlap."""
    if isinstance(value, np.ndarray):
        return ("cpu", value.ctypes.data) if value.size else None
    try:
        address = value.data_ptr()
    except (RuntimeError, ValueError):  # sparse tensors and those of lazy modules have none
        return None
    return (str(value.device), address) if address else None


def _is_lost(value: Any, inside: dict[Any, Any] | None) -> bool:
    if state_values.is_lost(value) or (isinstance(value, dict) and inside is None):
        return True
    if isinstance(value, list | tuple | dict | deque):  # its attributes are not examined
        return bool(getattr(value, "__dict__", None))
    return inside is None and _is_open(value)


def _is_open(value: Any) -> bool:
    """Return whether an object's attributes are state, as in the plugin's own classes."""
    kind = type(value)
    return kind is not type and kind.__module__.partition(".")[0] not in _CLOSED


def _slots(value: Any) -> list[str]:
    """List the attributes that an object keeps in `__slots__`, by their internal names."""
    classes = [known for known in type(value).__mro__ if "__slots__" in vars(known)]
    members = [item for known in classes for item in vars(known).items()]
    return [name for name, member in members if isinstance(member, MemberDescriptorType)]


def _fill_attributes(of: Any, now: dict[str, Any], items: dict[str, Any]) -> None:
    # Bypass the `__setattr__` of frozen dataclasses and of modules.
    hidden, slots = getattr(of, "__dict__", {}), _slots(of)
    for name in now.keys() - items.keys():
        if name in slots:
            object.__delattr__(of, name)
        else:
            del hidden[name]
    for name, item in items.items():
        if name in slots:
            object.__setattr__(of, name, item)
        else:
            hidden[name] = item
