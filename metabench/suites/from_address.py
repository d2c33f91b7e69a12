"""Suites made on the command line: `folder:PATH[way=5,shot=1]`, `manifest:FILE`, `lake:PATH`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from metabench import address
from metabench.address import Value
from metabench.errors import DataError, UsageError, reason
from metabench.files import expanded
from metabench.suites.suite import Suite

# The parameters of `Suite.from_folder`; 0 is None for size and bits.
_FOLDER: dict[str, Value] = {
    name: 0 if parameter.default is None else parameter.default
    for name, parameter in inspect.signature(Suite.from_folder).parameters.items()
    if name not in ("path", "data_root")
}

_DRAWN, _LISTED = "metabench.suites.protocol:BySplit", "metabench.suites.listing:Listed"
_PROTOCOLS = {"folder": _DRAWN, "manifest": _LISTED, "lake": _LISTED}


def code_at(text: str) -> tuple[str, ...]:
    """Return `Suite.code` of the suite at an address, without reading it."""
    return (_PROTOCOLS[text.partition(":")[0]],)


def addressed_suite(text: str, data_root: str | None) -> Suite | None:
    """Return the suite that an address describes; None if it is a plain name.

    Raises:
        UsageError: a parameter is unknown or has a wrong value.
        DataError: the images or the manifest cannot be read.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _PROTOCOLS:
        return None
    path, given = address.parse_path(rest)
    if given and kind != "folder":
        what = "a manifest file" if kind == "manifest" else "a folder of runs"
        raise UsageError(f"'{text}': {what} takes no parameters")
    params = address.resolve(kind, given, _FOLDER if kind == "folder" else {})
    _check_exists(text, path, rest)
    written = _written(kind, path, {k: v for k, v in params.items() if v != _FOLDER[k]})
    if kind == "lake":
        return replace(Suite.from_lake_runs(path, data_root=data_root), address=written)
    if kind == "manifest":
        suite = Suite.from_manifest(path, data_root=data_root)
        name = suite.open().dataset.name  # an exported manifest has the name of its suite
        return replace(suite, name=name, address=written).named_by_content()
    size, bits = (int(params.pop(name)) or None for name in ("size", "bits"))
    suite = Suite.from_folder(path, size=size, bits=bits, data_root=data_root, **params)  # type: ignore[arg-type]
    return replace(suite, address=written)


def name_of(text: str, data_root: str | None) -> str:
    """Return the name that results have of the suite at an address; any other text as it is.

    Raises:
        UsageError: a parameter is unknown or has a wrong value.
        DataError: the images or the manifest cannot be read.
    """
    suite = addressed_suite(text, data_root)
    return text if suite is None else suite.name


def _check_exists(text: str, path: str, rest: str) -> None:
    """Refuse a path that cannot be read, and name the part of the address that was taken for it.

    Raises:
        DataError: it does not exist, or the system refuses to look.
    """
    try:
        expanded(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        if "[" not in rest and isinstance(error, FileNotFoundError | NotADirectoryError):
            return  # reading it says what the folder or file must hold
        advice = ""
        if "[" in rest:
            advice = '; if brackets are part of it, write them in quotes, "a [b]"[way=5]'
        raise DataError(f"'{text}': cannot read '{path}': {reason(error)}{advice}") from None


def _written(kind: str, path: str, params: Mapping[str, Value]) -> str:
    """Return an address in its normal form, with a relative path if it is in the working folder."""
    place = Path(os.path.normpath(expanded(path).absolute()))
    short = place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place
    return f"{kind}:{address.write_path(str(short), params)}"
