"""The cells of a request: every combination of its suites, algorithms and seeds, or a shard."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from metabench.cell.cell import Cell
from metabench.errors import NothingToRun
from metabench.plugins.registry import Plugins
from metabench.supervisor import lookup
from metabench.supervisor.request import Request


def request_cells(request: Request, plugins: Plugins) -> list[Cell]:
    """Return every combination that a request names; algorithms that ignore the seed get one.

    Raises:
        UsageError: a name or parameter is wrong.
        NothingToRun: there is no suite or algorithm, or the shard is empty.
    """
    data_root = request.data_root
    suites = lookup.find_suites(request.suites, plugins, data_root)
    algorithms = {
        kind: lookup.find_algorithms(request.algorithms, plugins, kind)
        for kind in sorted({suite.kind for suite in suites})
    }
    for what, some in (("suite", suites), ("algorithm", any(algorithms.values()))):
        if not some:
            raise NothingToRun(f"there is no {what} to run; see metabench list {what}s")
    budget, device = lookup.find_budget(request.budget), lookup.find_device(request.device)
    train_on = lookup.find_suite(request.train_on, plugins, data_root) if request.train_on else None
    found = [
        Cell(suite, configured, seed, budget, device, train_on)
        for suite in suites
        for configured in algorithms[suite.kind]
        for seed in range(1 if configured.algorithm.deterministic else request.seeds)
    ]
    if request.shard:
        found = shard(found, *map(int, request.shard.split("/")))
    if not found:
        raise NothingToRun(f"shard {request.shard} has no cells: nothing to run")
    return [lookup.with_code(cell, plugins) for cell in found]


def shard(cells: Iterable[Cell], index: int, count: int) -> list[Cell]:
    """Return part `index` (from 1) of `count`: each cell is in the same part on every machine."""
    return [
        cell for cell in cells if zlib.crc32(cell.path.as_posix().encode()) % count == index - 1
    ]
