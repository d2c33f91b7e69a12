"""The cell of a stored result, with the code as it is now."""

from __future__ import annotations

from dataclasses import replace

from metabench.cell.cell import Cell
from metabench.errors import DataError
from metabench.plugins.registry import Plugins
from metabench.results.schema import Result
from metabench.supervisor.named_cell import NamedCell
from metabench.supervisor.suite_cache import SuiteCache


def cell_of(result: Result, plugins: Plugins, data_root: str | None, pinned: bool = True) -> Cell:
    """Return the cell of a result: the same suite, algorithm, seed, budget and type of device.

    Args:
        result: of the cell.
        plugins: where suites and algorithms come from.
        data_root: where datasets are kept.
        pinned: keep every parameter of the result, also where a default has changed since;
            otherwise only those that the user chose.

    Raises:
        UsageError: suite, algorithm, a parameter or the device does not exist now.
        DataError: the suite's data cannot be read.
    """
    job = result.job
    named = NamedCell(
        suite=result.suite.address or result.suite.name,
        train_on=result.suite.train_on_address or result.suite.train_on,
        algorithm=job.algorithm,
        params={**job.params, **job.chosen} if pinned else job.chosen,
        seed=job.seed,
        budget=job.budget,
        device=job.device,
        tasks_at_once=_tasks_at_once(result),
    )
    return named.find(plugins, data_root)


def with_seed_of(cell: Cell, result: Result) -> Cell:
    """Return the cell of a result that differs from a given cell in its seed alone."""
    return replace(cell, seed=result.job.seed, tasks_at_once=_tasks_at_once(result))


def check_same_data(result: Result, cell: Cell, suites: SuiteCache) -> None:
    """Refuse to compare a result with a cell that would see other examples.

    Raises:
        DataError: episodes, images or training data have changed, or cannot be read.
    """
    opened = suites.open(cell.suite)
    stored = [result.suite.episodes_digest, *(b.episodes_digest for b in result.blocks)]
    found = [opened.at(block).episodes.digest for block in range(len(stored))]
    trained_on = None
    if cell.train_on is not None:
        material = suites.open(cell.train_on).material
        trained_on = None if material is None else material.digest
    for what, one, other in (
        ("episodes", stored, found),
        ("images", result.suite.pixels_digest, opened.dataset.pixels),
        ("training data", result.suite.train_on_digest, trained_on),
    ):
        if one != other:
            raise DataError(
                f"the {what} of {cell.suite.name} are not those of the stored result: "
                "restore that data, or run the cell again"
            )


def _tasks_at_once(result: Result) -> int:
    return 0 if result.training is None else result.training.tasks_at_once
