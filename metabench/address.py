"""Addresses: `name[param=value,...]`, with `a|b` for sweeps.

The same grammar names algorithms, backbones and suites on the command line, in
`bench.toml` and in the tables. Values may themselves be addresses
(`protonet[backbone=conv4[pool=false]]`). A name or value that holds commas, brackets, pipes or
quotes is written in double quotes, with the escapes of JSON (`w[weights="lr=0.1,seed=2.pt"]`).
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from metabench.errors import UsageError, unknown
from metabench.files import expanded

Value = bool | int | float | str

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(f"{_QUOTED}|.", re.DOTALL)
_ADVICE = """; write a value with commas, brackets or pipes in quotes, name[param="value"]"""


class Address(NamedTuple):
    """A name and the parameters written after it, still as text."""

    name: str
    params: dict[str, str]


def parse(text: str) -> Address:
    """Read one address without sweeps, as `expand` yields them.

    Raises:
        UsageError: brackets or quotes do not match, or a parameter is not `param=value`.
    """
    name, inside = _cut(text)
    parts = [] if inside is None else _split(inside, ",", text)
    values = {key: _unquoted(value, text) for key, value in _values(parts, text).items()}
    return Address(_unquoted(name, text), values)


def expand(text: str) -> Iterator[str]:
    """Yield every address of a sweep: `maml[lr=1|2]` gives `maml[lr=1]` and `maml[lr=2]`.

    A value that is the path of something that exists needs no quotes for its commas.

    Raises:
        UsageError: it cannot be read, or a sweep is inside a value.
    """
    name, inside = _cut(text)
    parts = [] if inside is None else _paths_joined(_split(inside, ",", text))
    written = _values(parts, text)
    choices = [_split(value, "|", text) for value in written.values()]
    for key, given in zip(written, choices, strict=True):
        if any("|" in re.sub(_QUOTED, "", value, flags=re.DOTALL) for value in given):
            raise UsageError(
                f"cannot read '{text}': sweeps do not nest, write the whole value each time, "
                f"{key}=A[x=1]|A[x=2]"
            )
    for values in itertools.product(*choices):
        plain = [_unquoted(value.strip(), text) for value in values]
        yield write(_unquoted(name, text), dict(zip(written, plain, strict=True)))


def parse_path(text: str) -> Address:
    """Read an address whose name is a path, which may hold brackets.

    A path that exists is taken as it is. Otherwise the last brackets that can be read as
    parameters hold them.

    Raises:
        UsageError: quotes do not match, or no brackets can be read as parameters.
    """
    written = text.strip()
    if _exists(written):
        return Address(written, {})
    refused: UsageError | None = None
    if not written.startswith('"') and written.endswith("]"):
        for bracket in reversed([found.start() for found in re.finditer(r"\[", written)]):
            try:
                _, params = parse("path" + written[bracket:])
            except UsageError as error:
                refused = error
                continue
            if path := written[:bracket].strip():
                return Address(path, params)
    try:
        return parse(written)
    except UsageError as error:
        raise refused or error from None


def write(name: str, params: Mapping[str, Any], quoted: bool = False) -> str:
    """Return an address as text, parameters in their order: the inverse of `parse`."""
    inside = ",".join(f"{key}={write_value(value)}" for key, value in params.items())
    quoted = quoted or not _is_plain(name) or "[" in name or "]" in name
    written = _quote(name) if quoted else name
    return f"{written}[{inside}]" if inside else written


def write_path(path: str, params: Mapping[str, Any]) -> str:
    """Return an address whose name is a path: the inverse of `parse_path`."""
    written = write(path, params)
    return write(path, params, quoted=True) if params and _exists(written) else written


def write_value(value: Any) -> str:
    """Return a value as it is written in an address, in quotes if it would be read otherwise."""
    text = show(value)
    return text if _is_plain(text) else _quote(text)


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


def plain(value: Any) -> Any:
    """Return a number of NumPy or torch as one of Python; others as they are.

    Files and messages can hold those of Python only.
    """
    of_library = type(value).__module__ in ("numpy", "torch")
    return value.item() if of_library and getattr(value, "shape", None) == () else value


def show(value: Any) -> str:
    """Return a value as text, without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def resolve(name: str, given: Mapping[str, str], defaults: Mapping[str, Value]) -> dict[str, Value]:
    """Return every parameter with its value, each given text read as the type of its default.

    Raises:
        UsageError: a parameter is not declared, its value has another type, or no file or message
            can hold it.
    """
    for key in given:
        if key not in defaults:
            raise unknown(f"parameter of {name}", key, defaults)
    values = {
        key: _convert(name, key, given[key], default) if key in given else default
        for key, default in defaults.items()
    }
    for key, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):  # JSON has no such number
            raise UsageError(f"{name}[{key}={value}]: must be a finite number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:  # nor can messages hold one
            raise UsageError(f"{name}[{key}={given.get(key, value)}]: must fit in 64 bits")
    return values


def _convert(name: str, key: str, text: str, default: Value) -> Value:
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(default)(text)
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(default, bool) else type(default).__name__
        raise UsageError(f"{name}[{key}={text}]: '{key}' takes {kind}") from None


def _cut(text: str) -> tuple[str, str | None]:
    """Cut an address into its name and the text in its brackets, None if it has none."""
    written = text.strip()
    opens = (found.start() for found in _TOKEN.finditer(written) if found[0] == "[")
    at = next(opens, len(written))
    name = written[:at].strip()
    if not name or (at < len(written) and not written.endswith("]")):
        raise UsageError(f"cannot read '{text}': write name or name[param=value,...]")
    return name, written[at + 1 : -1] if at < len(written) else None


def _values(parts: list[str], whole: str) -> dict[str, str]:
    """Return the parameters by name, their values as they are written."""
    params: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"cannot read '{part}' in '{whole}': write param=value{_ADVICE}")
        if key.strip() in params:
            raise UsageError(f"'{key.strip()}' is given twice in '{whole}'")
        params[key.strip()] = value.strip()
    return params


def _paths_joined(parts: list[str]) -> list[str]:
    """Join parts that were separated by the commas in the path of something that exists."""
    joined = []
    while parts:
        key, _, value = parts[0].partition("=")
        count = len(parts)
        while count > 1 and not _exists(",".join([value, *parts[1:count]])):
            count -= 1
        whole = ",".join([value, *parts[1:count]]).strip()
        joined.append(parts[0] if count == 1 else f"{key}={_quote(whole)}")
        parts = parts[count:]
    return joined


def _exists(path: str) -> bool:
    return path.strip() != "" and os.path.exists(expanded(path.strip()))  # noqa: PTH110 - never raises


def _split(text: str, separator: str, whole: str) -> list[str]:
    """Split at the separators outside brackets and quotes."""
    parts, depth, start = [], 0, 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == '"':
            raise UsageError(f"cannot read '{whole}': its quotes do not match")
        depth += (token == "[") - (token == "]")
        if depth < 0:
            break
        if token == separator and depth == 0:
            parts.append(text[start : found.start()])
            start = found.end()
    if depth != 0:
        raise UsageError(f"cannot read '{whole}': its brackets do not match{_ADVICE}")
    return [*parts, text[start:]]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _unquoted(text: str, whole: str) -> str:
    """Return a name or value without its quotes; quotes inside a nested address stay."""
    if not re.fullmatch(_QUOTED, text, re.DOTALL):
        return text
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise UsageError(
            f"cannot read {text} in '{whole}': write two backslashes for one in quotes"
        ) from None


def _is_plain(text: str) -> bool:
    """Return whether a name or value is read as itself, without quotes around it."""
    try:
        one_value = _split(text, ",", text) == [text] == [text.strip()]
    except UsageError:
        return False
    quoted = text.startswith('"') and text.endswith('"')
    return one_value and text.isprintable() and text != "" and "|" not in text and not quoted
