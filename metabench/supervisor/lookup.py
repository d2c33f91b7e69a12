"""Names as users write them, looked up: suites, algorithms, budgets and devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from metabench import address
from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured, configure
from metabench.errors import UsageError
from metabench.learner import Kind
from metabench.plugins.code_digest import cell_code
from metabench.plugins.registry import Plugins
from metabench.results.schema import MOST_COUNT, MOST_SECONDS
from metabench.suites.from_address import addressed_suite
from metabench.suites.suite import Suite


def find_suites(
    names: Sequence[str | Suite], plugins: Plugins, data_root: str | None
) -> list[Suite]:
    """Find suites by name, glob or address, each once; `Suite` objects are kept as they are.

    Raises:
        UsageError: there is no such suite, or two have the same name.
        DataError: the data of an address cannot be read.
    """
    found: dict[str, Suite] = {}
    for text in names:
        matches = [text]
        if isinstance(text, str) and _is_glob(text):
            matches = [k for k in plugins.suites if fnmatchcase(k, text)] or [text]
        for name in matches:
            suite = name
            if not isinstance(suite, Suite):
                suite = addressed_suite(suite, data_root) or plugins.suite(suite).spec
            first = found.setdefault(suite.name, suite)
            if not _are_one(first, suite, data_root):  # their results would overwrite each other
                places = [one.address or f"a suite of {one.dataset_name}" for one in (first, suite)]
                raise UsageError(
                    f"two suites are both called {suite.name}: {' and '.join(places)}; give one of "
                    "them another name, or run them one at a time, each with its own --results"
                )
    return list(found.values())


def _are_one(one: Suite, other: Suite, data_root: str | None) -> bool:
    """Return whether two suites of one name have the same address, otherwise the same content."""
    if one.address and other.address:
        return one.address == other.address
    return one == other or one.content(data_root) == other.content(data_root)


def find_suite(name: str, plugins: Plugins, data_root: str | None) -> Suite:
    """Find the one suite of a name, glob or address.

    Raises:
        UsageError: there is no such suite, or more than one.
        DataError: the data of an address cannot be read.
    """
    found = find_suites([name], plugins, data_root)
    if len(found) > 1:
        names = ", ".join(suite.name for suite in found)
        raise UsageError(f"'{name}' matches {names}: name one suite")
    return found[0]


def find_algorithms(
    texts: Sequence[str], plugins: Plugins, kind: Kind = "classification"
) -> list[Configured]:
    """Find algorithms by address, sweep or glob, each once; all of them if none is named.

    Args:
        texts: the addresses.
        plugins: where algorithms come from.
        kind: of the suites that they run on; defaults may depend on it.
    """
    found: dict[str, Configured] = {}
    for text in texts or list(plugins.algorithms):
        for one in address.expand(text):
            name, given = address.parse(one)
            names = [k for k in plugins.algorithms if _is_glob(name) and fnmatchcase(k, name)]
            for match in names or [name]:
                configured = find_algorithm(match, given, plugins, kind)
                found[configured.address] = configured
    return list(found.values())


def find_algorithm(
    name: str, given: Mapping[str, str], plugins: Plugins, kind: Kind = "classification"
) -> Configured:
    """Find an algorithm by name, with parameters whose values are text.

    Raises:
        UsageError: there is no such algorithm or parameter, or a value has another type.
    """
    provided = plugins.algorithm(name)
    declared = {one: found.spec.params for one, found in plugins.backbones.items()}
    configured = configure(provided.spec.on(kind), given, provided.provider, declared)
    backbone = configured.params.get("backbone")
    if isinstance(backbone, str):  # wrong names and values are refused before a cell runs
        name, given = address.parse(backbone)
        plugins.backbone(name).spec.resolve(given)
    return configured


def as_stored(text: str, plugins: Plugins, kind: Kind) -> str:
    """Return the address of an algorithm as results have it.

    Parameters that were written out stay, because defaults may have changed since. A text stays
    as it is if it is a glob, or means nothing to the plugins that are loaded.
    """
    try:
        written = list(address.expand(text))
        name, given = address.parse(written[0])
        configured = find_algorithm(name, given, plugins, kind)
    except UsageError:
        return text
    if len(written) > 1:
        return text
    values = {**configured.params, **configured.chosen}
    return address.write(name, {key: values[key] for key in given if key in values})


def with_code(cell: Cell, plugins: Plugins) -> Cell:
    """Return the cell with its code.

    Raises:
        UsageError: a file that its algorithm or backbone declares cannot be read.
    """
    name, params = cell.configured.algorithm.name, cell.configured.params
    return replace(cell, code=cell_code(plugins, name, params, cell.kind, cell.suite_code))


def find_budget(text: str) -> Budget:
    """Read a budget.

    Raises:
        UsageError: it cannot be read, or it is too large.
    """
    budget = Budget.parse(text)
    most = MOST_COUNT if budget.unit == "tasks" else MOST_SECONDS
    if budget.amount > most:
        raise UsageError(f"budget '{text}': must be at most {most:.0f} {budget.unit}")
    return budget


def find_device(name: str) -> str:
    """Return a device that exists here; "auto" is an accelerator if there is one.

    Raises:
        UsageError: the device is not available.
    """
    if name == "cpu":
        return name
    import torch

    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if name == "auto":
        return "cpu" if here is None else here.type
    kind, _, index = name.partition(":")
    count = torch.accelerator.device_count() if here is not None else 0
    available = here is not None and here.type == kind
    if not available or index not in ("", *map(str, range(count))):
        others = "cpu" if here is None else f"cpu, {here.type} ({count})"
        raise UsageError(f"device '{name}' is not available here; available: {others}")
    return name


def _is_glob(name: str) -> bool:
    return any(char in name for char in "*?")
