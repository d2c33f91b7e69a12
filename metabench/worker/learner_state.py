"""A learner's state and size, read from its attributes so that its author need not write it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from metabench.errors import UsageError
from metabench.learner import Learner
from metabench.worker import state_values
from metabench.worker.state_outline import (
    LEARNER,
    Node,
    Part,
    contents,
    empty,
    filled,
    joined,
    memory,
    walk,
)

_ABSENT = object()


def state_dict(learner: Learner) -> dict[str, Any]:
    """Copy everything the next `meta_step` needs, as tensors and plain values.

    The state is found in the learner's attributes, also inside lists, tuples, dicts, sets, deques
    and objects of the plugin's own classes: everything with a `state_dict` of its own (modules,
    optimisers, schedulers), tensors, arrays, random generators, numbers and texts. A learner
    may define `state_dict` and `load_state_dict` instead.
    """
    if _has_own(learner):
        return copy.deepcopy(dict(learner.state_dict()))  # type: ignore[attr-defined]
    found = list(walk(learner))
    state = {part.name: state_values.saved(part.value) for part in found if part.has_content}
    return {**state, LEARNER: {part.name: part.node for part in found}}


def load_state_dict(learner: Learner, state: dict[str, Any]) -> None:
    """Restore what `state_dict` returned.

    Raises:
        UsageError: a part has disappeared or changed since, and cannot be made again.
    """
    if _has_own(learner):
        learner.load_state_dict(copy.deepcopy(state))  # type: ignore[attr-defined]
        return
    _Restoring(state).put(LEARNER, learner)


def fits(learner: Learner, state: dict[str, Any]) -> bool:
    """Return whether a state has exactly the parts that the learner has.

    An optimiser that is only made in the first update would otherwise be lost silently.
    """
    own = state_dict(learner)
    if _has_own(learner):
        return own.keys() == state.keys() and all(
            _alike(value, state[name]) for name, value in own.items()
        )
    ours, theirs = own[LEARNER], state.get(LEARNER)
    if not isinstance(theirs, dict) or ours.keys() != theirs.keys():
        return False
    return all(
        _same_kind(node, theirs[name])
        and (_is_number(node) or name not in own or _alike(own[name], state.get(name)))
        for name, node in ours.items()
        if name != LEARNER
    )


def unsaved(learner: Learner) -> list[str]:
    """List the names of parts that a checkpoint cannot hold: lost ones, and arrays of objects."""
    if _has_own(learner):
        return []
    return [part.name for part in walk(learner) if part.is_lost or not _is_kept_plain(part)]


def lost(learner: Learner) -> list[str]:
    """List the names of parts that are not restored: iterators, and objects of C extensions."""
    if _has_own(learner):
        return []
    return [part.name for part in walk(learner) if part.is_lost]


def parameter_count(learner: Learner) -> int:
    """Count the learnable numbers in the learner's modules and tensors, each once."""
    found: dict[int, int] = {}
    for part in parts(learner):
        if isinstance(part.value, torch.nn.Module):
            found |= {id(p): p.numel() for p in part.value.parameters()}
        elif isinstance(part.value, torch.Tensor) and part.value.requires_grad:
            found[id(part.value)] = part.value.numel()
    return sum(found.values())


def parts(learner: Learner) -> Iterator[Part]:
    """Iterate over every part that has a state, each once."""
    return (part for part in walk(learner) if part.has_content)


def _has_own(learner: Learner) -> bool:
    # The state_dict of a learner that is a module leaves out its optimiser.
    return hasattr(learner, "state_dict") and not isinstance(learner, torch.nn.Module)


def _is_number(node: Node) -> bool:
    kind = node.get("kind", "")
    return bool(kind == "plain" or kind.startswith("numpy."))


def _same_kind(own: Node, other: Node) -> bool:
    if _is_number(own) and _is_number(other):
        return True
    if own.get("kind") == "plain":  # None may have become a separate tensor, not an optimiser
        return other == {"kind": "Tensor"}
    return _unordered(own) == _unordered(other)


def _unordered(node: Node) -> Node:
    return {**node, "keys": set(node["keys"])} if "keys" in node else node


def _alike(own: Any, saved: Any) -> bool:
    if isinstance(own, torch.Tensor) and isinstance(saved, torch.Tensor):
        return (own.shape, own.dtype) == (saved.shape, saved.dtype)
    if isinstance(own, state_values.PLAIN):
        return isinstance(saved, (*state_values.PLAIN, torch.Tensor))
    return type(own) is type(saved)


def _is_kept_plain(part: Part) -> bool:
    return not part.has_content or state_values.is_kept_plain(part.value)


class _Restoring:
    """One restoration of a state, by name, whatever objects the learner holds by now."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state, self._outline = state, state[LEARNER]
        self._there: dict[str, Any] = {}
        self._claims: dict[Any, str] = {}

    def put(self, name: str, now: Any) -> Any:
        """Restore one part by its name.

        Args:
            name: of the part when the state was saved.
            now: the value with that name now, or `_ABSENT`.

        Returns:
            The value that the name must refer to.
        """
        node = self._outline[name]
        if "same" in node:
            return self._there[node["same"]]
        skipped = "lost" in node and "keys" not in node  # a warning was given when it was saved
        new = now if skipped else self._put_known(name, now, node)
        self._claim(name, new)
        return new

    def _put_known(self, name: str, now: Any, node: Node) -> Any:
        known = name == LEARNER or (now is not _ABSENT and state_values.kind(now) == node["kind"])
        put = self._put_contents if "keys" in node else self._put_leaf
        try:
            return put(name, now if known else _ABSENT, node)
        except TypeError as error:
            message = f"the state of {name}, a {node['kind']}, cannot be put back: {error}"
            raise UsageError(message) from error

    def _put_leaf(self, name: str, now: Any, node: Node) -> Any:
        if name not in self._state:  # a function or the like
            if now is _ABSENT:
                raise TypeError("it is gone, and only the learner can make one")
            return now
        saved = self._state[name]
        if now is _ABSENT:
            return state_values.made(node["kind"], saved)
        return state_values.put_back(
            state_values.apart(now) if self._is_taken(now, node) else now, saved
        )

    def _put_contents(self, name: str, now: Any, node: Node) -> Any:
        if now is _ABSENT:
            now = empty(node["kind"])
        elif self._is_taken(now, node):
            now = copy.copy(now)
        self._claim(name, now)  # its contents may refer to it
        inside = contents(now) or {}
        items = {key: self.put(joined(name, key), inside.get(key, _ABSENT)) for key in node["keys"]}
        return filled(now, {key: item for key, item in items.items() if item is not _ABSENT})

    def _claim(self, name: str, value: Any) -> None:
        self._there[name] = value
        for key in memory(value):
            self._claims.setdefault(key, name)

    def _is_taken(self, now: Any, node: Node) -> bool:
        """Return whether another name uses its memory already, but did not when it was saved."""
        keys = memory(now)
        if keys and keys[0] in self._claims:
            return True
        holders = {self._claims[key] for key in keys if key in self._claims}
        return not holders <= set(node.get("over", []))
