"""A learner's state and size, read from its attributes so that its author need not write it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from metabench.errors import UsageError, reason
from metabench.learner import Learner
from metabench.worker import state_values
from metabench.worker.memory import is_out_of_memory

_LEARNER = ""  # the name of the learner itself; a state keeps its outline under it
_ABSENT = object()
_SHARING = torch.Tensor | np.ndarray | torch.nn.Module  # what may share memory with others


class Part(NamedTuple):
    """One part of a learner.

    Attributes:
        name: the path from the learner to it.
        value: the part itself.
        node: a description in plain values. `kind`: its type. `keys`: those of its contents.
            `device` and `requires_grad`: of a tensor. `grad`: its gradient, in a saved state. Or
            only `same`: an earlier name of the same object. `late`: a newly built learner may lack
            it, because the first call of a module makes it.
        is_leaf: True if it is saved as a whole, under its name.
        is_installed: True inside a module of an installed package, which is not checked.
    """

    name: str
    value: Any
    node: dict[str, Any]
    is_leaf: bool = False
    is_installed: bool = False


def state_dict(learner: Learner) -> dict[str, Any]:
    """Copy everything that the next `meta_step` needs, as tensors and plain values.

    The state is found in the learner's attributes, also inside lists, tuples, dicts, plain objects
    and modules: tensors with their gradients, arrays, random generators, numbers, texts, and
    everything with a `state_dict` of its own, such as optimisers and schedulers. A learner may
    define `state_dict` and `load_state_dict` instead.

    Raises:
        UsageError: an attribute may hold state that cannot be saved.
    """
    if state_values.has_state(learner):
        return copy.deepcopy(dict(learner.state_dict()))  # type: ignore[attr-defined]
    check_savable(learner)
    found = list(_walk(learner))
    state = {part.name: state_values.saved(part.value) for part in found if part.is_leaf}
    return {**state, _LEARNER: {part.name: _with_gradient(part) for part in found}}


def check_savable(learner: Learner) -> None:
    """Check that `state_dict` can save all that the learner holds now.

    Raises:
        UsageError: it cannot; the message says which attribute, and what to do.
    """
    if state_values.has_state(learner):
        return
    for part in _walk(learner):
        asked = "same" not in part.node and not part.is_leaf and not part.is_installed
        instead = state_values.refusal(part.value) if asked else ""
        if instead:
            raise UsageError(
                f"the state of {type(learner).__name__}.{part.name}, of type "
                f"{type(part.value).__name__}, cannot be saved: use {instead}, or define "
                "state_dict and load_state_dict"
            )


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Restore what `state_dict` returned, in place wherever possible.

    If that fails, the learner is left as it was.

    Raises:
        UsageError: a part has disappeared or changed since, and cannot be made again; or two
            parts share memory that did not when they were saved.
    """
    if state_values.has_state(learner):
        _load_by_itself(learner, state)
        return
    before = [_Kept(part) for part in _walk(learner) if "same" not in part.node]
    try:
        _load(learner, state)
    except Exception as error:
        for kept in before:
            kept.put_back()
        if isinstance(error, UsageError) or is_out_of_memory(error):
            raise
        raise UsageError(f"the state cannot be restored: {reason(error)}") from error


def _load_by_itself(learner: Any, state: dict[str, Any]) -> None:
    before = copy.deepcopy(dict(learner.state_dict()))
    try:
        learner.load_state_dict(copy.deepcopy(state))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        learner.load_state_dict(before)
        reason = " ".join(str(error).split())
        raise UsageError(f"{type(learner).__name__}.load_state_dict: {reason}") from error


def _load(learner: Learner, state: dict[str, Any]) -> None:
    _Restoring(state).restore(_LEARNER, learner)
    for part in parts(learner):
        saved = state.get(part.name)
        if not isinstance(part.value, _SHARING) or _equal(part.value, saved):
            continue
        state_values.restored(part.value, saved)
        if _equal(part.value, saved):  # by itself, so another part has changed it
            raise UsageError(
                f"the state of {part.name} cannot be restored: it now shares memory with another "
                "part; use clone() or copy()"
            )


def fits(learner: Learner, state: dict[str, Any]) -> bool:
    """Return whether a state has exactly the parts that the learner has.

    Restored into a learner without an optimiser, for instance, its state would be lost silently.
    """
    if state_values.has_state(learner):
        return _all_alike(learner.state_dict(), state)  # type: ignore[attr-defined]
    found, outline = {part.name: part for part in _walk(learner)}, state.get(_LEARNER)
    if not isinstance(outline, dict) or not found.keys() <= outline.keys():
        return False
    late = outline.keys() - found.keys()
    return all(outline[name].get("late") for name in late) and all(
        _fits(part, outline[name], state.get(name)) for name, part in found.items()
    )


def parameter_count(learner: Learner) -> int:
    """Count the learnable numbers in the learner's modules and tensors, each once."""
    found: dict[int, torch.Tensor] = {}
    for part in parts(learner):
        value = part.value
        if isinstance(value, torch.nn.Module):
            found |= {id(parameter): parameter for parameter in value.parameters()}
        elif isinstance(value, torch.nn.Parameter) or (
            isinstance(value, torch.Tensor) and value.is_leaf and value.requires_grad
        ):
            found[id(value)] = value
    return sum(0 if is_lazy(tensor) else tensor.numel() for tensor in found.values())


def has_lazy_layers(learner: Learner) -> bool:
    """Return whether a learner has layers that get their parameters when they are first called."""
    return any(isinstance(p.value, torch.Tensor) and is_lazy(p.value) for p in parts(learner))


def parts(learner: Learner) -> Iterator[Part]:
    """Iterate over every part that is saved as a whole, each once."""
    return (part for part in _walk(learner) if part.is_leaf)


def _walk(learner: Learner) -> Iterator[Part]:
    """Iterate over all parts of a learner, the learner itself first."""
    names: dict[int, str] = {}

    def step(name: str, value: Any, marks: dict[str, Any], installed: bool) -> Iterator[Part]:
        if id(value) in names:
            yield Part(name, value, {"same": names[id(value)], **marks})
            return
        leaf = name != _LEARNER and state_values.is_leaf(value)
        inside = None if leaf else state_values.contents(value)
        known = leaf or inside is not None
        if known and not isinstance(value, state_values.IMMUTABLE):
            names[id(value)] = name
        node: dict[str, Any] = {"kind": state_values.kind(value), **marks}
        if isinstance(value, torch.Tensor):
            node |= {"device": str(value.device), "requires_grad": value.requires_grad}
        if inside is not None:
            node["keys"] = list(inside)
        yield Part(name, value, node, leaf, installed)
        is_module = isinstance(value, torch.nn.Module) and name != _LEARNER
        if is_module:
            installed = state_values.is_installed(type(value))
        for key, item in (inside or {}).items():
            late = is_module and key not in state_values.OF_EVERY_MODULE
            yield from step(_joined(name, key), item, {"late": True} if late else marks, installed)

    return step(_LEARNER, learner, {}, False)


def _with_gradient(part: Part) -> dict[str, Any]:
    """Return the node of a part with a copy of its gradient."""
    value = part.value
    if not isinstance(value, torch.Tensor) or not value.is_leaf or value.grad is None:
        return part.node
    return {**part.node, "grad": value.grad.detach().clone()}


def _set_gradient(value: Any, node: dict[str, Any]) -> None:
    """Restore `requires_grad` and the gradient of a tensor; others are left alone."""
    if not isinstance(value, torch.Tensor) or not value.is_leaf:
        return
    if value.requires_grad != node["requires_grad"]:
        value.requires_grad_(node["requires_grad"])
    gradient = node.get("grad")
    value.grad = None if gradient is None else gradient.to(value.device, copy=True)


def _joined(name: str, key: Any) -> str:
    """Return the name of a container's item; no two keys give the same name."""
    if name == _LEARNER:
        return str(key)
    simple = key.isidentifier() if isinstance(key, str) else type(key) is int
    return f"{name}.{key}" if simple else f"{name}[{key!r}]"


def _fits(part: Part, node: dict[str, Any], saved: Any) -> bool:
    kind, other = part.node.get("kind"), node.get("kind")
    if kind == "plain":  # None may have become a tensor of its own, but not an optimiser
        return other in ("plain", "Tensor")
    if (kind, part.node.get("same")) != (other, node.get("same")):
        return False
    if not part.is_leaf:
        return True
    alike = _all_alike if isinstance(part.value, torch.nn.Module) else _alike
    return alike(state_values.saved(part.value), saved)


def _all_alike(own: Any, saved: Any) -> bool:
    return own.keys() == saved.keys() and all(_alike(own[name], saved[name]) for name in own)


def _alike(own: Any, saved: Any) -> bool:
    if isinstance(own, torch.Tensor) and isinstance(saved, torch.Tensor):
        return (own.shape, own.dtype) == (saved.shape, saved.dtype)
    if isinstance(own, state_values.PLAIN):
        return isinstance(saved, (*state_values.PLAIN, torch.Tensor))
    return type(own) is type(saved)


def _equal(value: Any, state: Any) -> bool:
    """Return whether all numbers in a value are those of a state; NaN equals NaN."""
    own = state_values.saved(value)
    pairs = [(own[name], state[name]) for name in own] if isinstance(own, dict) else [(own, state)]
    tensors = [(one, other.to(one.device)) for one, other in pairs if _strided(one)]
    return all(
        bool(((one == other) | (one.isnan() & other.isnan())).all()) for one, other in tensors
    )


def _strided(value: Any) -> bool:
    """Return whether a value is a tensor whose numbers can be compared."""
    if not isinstance(value, torch.Tensor) or value.is_meta or value.is_quantized:
        return False
    return value.layout == torch.strided


class _Kept:
    """One part of a learner as it is now, whatever happens to the names that lead to it."""

    def __init__(self, part: Part) -> None:
        self._part, self._node = part, _with_gradient(part)
        read = state_values.saved if part.is_leaf else state_values.contents
        self._content = read(part.value)

    def put_back(self) -> None:
        value, content = self._part.value, self._content
        if self._part.is_leaf:
            state_values.restored(value, content)
            _set_gradient(value, self._node)
        elif content is not None and not isinstance(value, tuple):
            state_values.filled(value, content)


class _Restoring:
    """One restoration of a state, by name, regardless of which objects the learner holds now."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = {**state}
        self._outline = self._state.pop(_LEARNER)
        self._done: dict[str, Any] = {}
        self._used: set[int] = set()  # ids of the values in `_done`

    def restore(self, name: str, now: Any) -> Any:
        """Restore one part by its name.

        Args:
            name: of the part when the state was saved.
            now: the value with that name now, or `_ABSENT`.

        Returns:
            The value that the name must refer to.

        Raises:
            UsageError: the part is gone, or does not take its state.
        """
        node = self._outline[name]
        if "same" in node:
            return self._done[node["same"]]
        # An object that an earlier name refers to now is restored already, under that name.
        changed = name != _LEARNER and state_values.kind(now) != node["kind"]
        if changed or id(now) in self._used:
            now = _ABSENT
        try:
            return self._put(name, now, node)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())
            message = f"the state of {name}, a {node['kind']}, cannot be restored: {reason}"
            raise UsageError(message) from error

    def _put(self, name: str, now: Any, node: dict[str, Any]) -> Any:
        value = now
        if now is _ABSENT:
            value = state_values.recreated(node, self._state.get(name, ()))
        elif name in self._state:
            value = state_values.restored(now, self._state[name])
        elif "keys" not in node:
            return now  # configuration
        _set_gradient(value, node)
        self._done[name] = value
        if not isinstance(value, state_values.IMMUTABLE):
            self._used.add(id(value))
        if "keys" not in node:
            return value
        inside = state_values.contents(value) or {}
        keys = {key: _joined(name, key) for key in node["keys"]}
        items = {key: self.restore(path, inside.get(key, _ABSENT)) for key, path in keys.items()}
        return state_values.filled(value, items)
