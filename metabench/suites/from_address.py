"""Suites made on the command line: `folder:PATH[way=5,shot=1]`, `manifest:FILE`, `lake:PATH`."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from metabench import address
from metabench.address import Value
from metabench.errors import UsageError
from metabench.suites.suite import Suite

_FOLDER: dict[str, Value] = {
    "way": 5,
    "shot": 1,
    "query": 15,
    "episodes": 1000,
    "size": 28,  # 0 keeps the size of images
    "split": "auto",
    "invert": False,
    "bits": 0,  # 0: pixels use all bits of the file
    "background": "white",
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
    path, given = address.parse(rest)
    if given and kind != "folder":
        what = "a manifest file" if kind == "manifest" else "a folder of runs"
        raise UsageError(f"'{text}': {what} takes no parameters")
    if kind == "lake":
        return replace(Suite.from_lake_runs(path, data_root=data_root), address=text)
    if kind == "manifest":
        return _named(Suite.from_manifest(path, data_root=data_root), text)
    params = address.resolve(kind, given, _FOLDER)
    size, bits = (int(params.pop(name)) or None for name in ("size", "bits"))
    suite = Suite.from_folder(path, size=size, bits=bits, data_root=data_root, **params)  # type: ignore[arg-type]
    return _named(suite, text)


def _named(suite: Suite, text: str) -> Suite:
    """Return a user's suite under a name that no other suite's results have.

    Two folders may share a name, and an exported manifest has the name of its suite. So the name
    ends in a digest of episodes and pixels.
    """
    from metabench.suites.listing import Listed

    opened = suite.open()
    content = [opened.episodes.digest, opened.dataset.pixels]
    digest = hashlib.sha256(" ".join(content).encode()).hexdigest()[:6]
    name = opened.dataset.name
    if not isinstance(suite.protocol, Listed):
        name = suite.name
    return replace(suite, name=f"{name}-{digest}", address=text)
