"""Addresses: `name[param=value,...]`, with `a|b` for sweeps.

The same grammar names algorithms, backbones and suites on the command line, in
`bench.toml` and in the tables. Values may themselves be addresses
(`protonet[backbone=conv4[pool=false]]`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metabench.errors import UsageError, unknown

Value = bool | int | float | str


class Address(NamedTuple):
    """A name and the parameters written after it, still as text."""

    name: str
    params: dict[str, str]


def parse(text: str) -> Address:
    """Read one address without sweeps, as `expand` yields them.

    Raises:
        UsageError: brackets do not match, or a parameter is not `param=value`.
    """
    name, bracket, inside = text.strip().partition("[")
    if not name or (bracket and not inside.endswith("]")):
        raise UsageError(f"cannot read '{text}': write name or name[param=value,...]")
    params: dict[str, str] = {}
    for part in _split(inside[:-1], ",", text) if bracket else []:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"cannot read '{part}' in '{text}': write param=value")
        if key.strip() in params:
            raise UsageError(f"'{key.strip()}' is given twice in '{text}'")
        params[key.strip()] = value.strip()
    return Address(name.strip(), params)


def expand(text: str) -> Iterator[str]:
    """Yield every address of a sweep: `maml[lr=1|2]` gives `maml[lr=1]` and `maml[lr=2]`.

    Raises:
        UsageError: it cannot be read, or a sweep is inside a value.
    """
    address = parse(text)
    choices = [_split(value, "|", text) for value in address.params.values()]
    for key, given in zip(address.params, choices, strict=True):
        if any("|" in value for value in given):
            raise UsageError(
                f"cannot read '{text}': sweeps do not nest, write the whole value each time, "
                f"{key}=A[x=1]|A[x=2]"
            )
    for values in itertools.product(*choices):
        yield write(address.name, dict(zip(address.params, values, strict=True)))


def write(name: str, params: Mapping[str, Any]) -> str:
    """Return an address as text, parameters in their order: the inverse of `parse`."""
    inside = ",".join(f"{key}={show(value)}" for key, value in params.items())
    return f"{name}[{inside}]" if inside else name


def means(text: str, name: str, params: Mapping[str, Value], chosen: Mapping[str, Value]) -> bool:
    """Return whether an address means an algorithm with these parameters.

    Args:
        text: the address; it may write out defaults or not.
        name: the algorithm's name.
        params: all of its parameters.
        chosen: those that the address must name, because they are not defaults.

    Raises:
        UsageError: the text is not an address.
    """
    found = parse(text)
    if found.name != name or not chosen.keys() <= found.params.keys():
        return False
    known = {**params, **chosen}
    return all(key in known and _reads_as(given, known[key]) for key, given in found.params.items())


def _reads_as(text: str, value: Value) -> bool:
    try:
        return _convert("", "", text, value) == value
    except UsageError:
        return False


def show(value: Any) -> str:
    """Return a value as it is written in an address."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def resolve(name: str, given: Mapping[str, str], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Return every parameter with its value, each given text read as the type of its default.

    Raises:
        UsageError: a parameter is not declared, or its value has another type.
    """
    for key in given:
        if key not in defaults:
            raise unknown(f"parameter of {name}", key, defaults)
    return {
        key: _convert(name, key, given[key], default) if key in given else default
        for key, default in defaults.items()
    }


def _convert(name: str, key: str, text: str, default: Value) -> Value:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(default, bool) else type(default).__name__
        raise UsageError(f"{name}[{key}={text}]: '{key}' takes {kind}") from None


def _split(text: str, separator: str, whole: str) -> list[str]:
    """Split at the separators outside brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if depth < 0:
            break
        if char == separator and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    if depth != 0:
        raise UsageError(f"cannot read '{whole}': its brackets do not match")
    return [*parts, text[start:]]
