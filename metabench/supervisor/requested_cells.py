"""The cells of a request: every combination of its suites, algorithms and seeds, or a shard."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

from metabench.cell.budget import Budget
from metabench.cell.cell import Cell, Configured
from metabench.errors import NothingToRun
from metabench.learner import Kind
from metabench.plugins.registry import Plugins
from metabench.suites.suite import Suite
from metabench.supervisor.lookup import (
    find_algorithms,
    find_budget,
    find_device,
    find_suite,
    find_suites,
    with_code,
)
from metabench.supervisor.request import Request


def request_cells(request: Request, plugins: Plugins) -> list[Cell]:
    """Return the cells of a request.

    Raises:
        UsageError: a name or parameter is wrong.
        NothingToRun: there is no suite or algorithm, or the shard is empty.
    """
    data_root = request.data_root or None
    suites = find_suites(request.suites, plugins, data_root)
    algorithms = {
        kind: find_algorithms(request.algorithms, plugins, kind)
        for kind in sorted({suite.kind for suite in suites})
    }
    for what, some in (("suite", suites), ("algorithm", any(algorithms.values()))):
        if not some:
            raise NothingToRun(f"there is no {what} to run; see metabench list {what}s")
    found = cells(
        suites,
        algorithms,
        range(request.seeds),
        find_budget(request.budget),
        find_device(request.device),
        find_suite(request.train_on, plugins, data_root) if request.train_on else None,
    )
    if request.shard:
        found = shard(found, *map(int, request.shard.split("/")))
    if not found:
        raise NothingToRun(f"shard {request.shard} has no cells: nothing to run")
    return [with_code(cell, plugins) for cell in found]


def cells(
    suites: Iterable[Suite],
    algorithms: Mapping[Kind, Sequence[Configured]],
    seeds: Iterable[int],
    budget: Budget,
    device: str,
    train_on: Suite | None = None,
) -> list[Cell]:
    """Return every combination; algorithms that ignore the seed get one seed.

    Args:
        suites: the suites.
        algorithms: the algorithms, for each kind of suite.
        seeds: the seeds.
        budget: of every cell.
        device: of every cell.
        train_on: the suite whose base data every cell uses; None: the cell's own.
    """
    seeds = list(seeds)
    return [
        Cell(suite, configured, seed, budget, device, train_on)
        for suite in suites
        for configured in algorithms[suite.kind]
        for seed in (seeds[:1] if configured.algorithm.deterministic else seeds)
    ]


def shard(cells: Iterable[Cell], index: int, count: int) -> list[Cell]:
    """Return part `index` (from 1) of `count`: each cell is in the same part on every machine."""
    return [
        cell for cell in cells if zlib.crc32(cell.path.as_posix().encode()) % count == index - 1
    ]
