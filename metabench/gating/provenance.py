"""Differences between two runs of the same cell, besides the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from metabench.results.schema import Result

_SHOWN = 12  # characters of a digest
# Facts of the environment that vary from run to run.
_IRRELEVANT = frozenset({"contended", "dirty", "plugins"})


def differences(old: Result, new: Result) -> list[str]:
    """List what differs in code, parameters, data and environment: "threads 2 -> 4"."""
    return [f"{what} {_shown(one)} -> {_shown(other)}" for what, one, other in _pairs(old, new)]


def _pairs(old: Result, new: Result) -> Iterator[tuple[str, Any, Any]]:
    facts = [("code", old.job.code[:_SHOWN], new.job.code[:_SHOWN])]
    facts += [("provider", old.job.provider, new.job.provider)]
    facts += [("images", old.suite.pixels_digest[:_SHOWN], new.suite.pixels_digest[:_SHOWN])]
    for what, one, other in facts:
        if one != other:
            yield what, one, other
    yield from _mappings("", old.job.params, new.job.params)
    yield from _mappings("training ", _plain(old.job.training), _plain(new.job.training))
    trained = [
        {} if r.training is None else {"updates": r.training.updates, "tasks": r.training.tasks}
        for r in (old, new)
    ]
    yield from _mappings("training ", *trained)
    before, after = _plain(old.environment), _plain(new.environment)
    if not before or not after:
        return
    for name in before:
        if name in _IRRELEVANT:
            continue
        one, other = before[name], after[name]
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _mappings("" if name == "packages" else f"{name} ", one, other)
        elif one != other:
            yield name, one[:7] if name == "commit" and one else one, other


def _plain(struct: msgspec.Struct | None) -> dict[str, Any]:
    return {} if struct is None else msgspec.structs.asdict(struct)


def _mappings(
    prefix: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    for name in dict.fromkeys((*old, *new)):
        one, other = old.get(name), new.get(name)
        if one != other:
            yield f"{prefix}{name}", one, other


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)[:60]
