"""From a stored result back to the cell that it is of, as the code is now."""

from __future__ import annotations

from dataclasses import replace

from metabench import address
from metabench.cell.budget import Budget
from metabench.cell.cell import Cell
from metabench.errors import DataError
from metabench.plugins.registry import Plugins
from metabench.results.schema import Result
from metabench.supervisor.request import find_algorithm, find_device, find_suite, with_code
from metabench.supervisor.suite_cache import SuiteCache


def cell_of(result: Result, plugins: Plugins, data_root: str | None, pinned: bool = True) -> Cell:
    """The cell of a result: the same suite, algorithm, seed, budget and type of device.

    Args:
        result: of the cell.
        plugins: where suites and algorithms come from.
        data_root: where datasets are kept.
        pinned: every parameter is as it was, also where a default has changed since; or else
            only those that the user chose.

    Raises:
        UsageError: suite, algorithm, a parameter or the device does not exist now.
        DataError: the suite's data cannot be read.
    """
    job = result.job
    suite = find_suite(result.suite.address or result.suite.name, plugins, data_root)
    given = {**job.params, **job.chosen} if pinned else job.chosen
    texts = {key: address.show(value) for key, value in given.items()}
    configured = find_algorithm(job.algorithm, texts, plugins, suite.kind)
    train_on = result.suite.train_on
    cell = Cell(
        suite=suite,
        configured=configured,
        seed=job.seed,
        budget=Budget.parse(job.budget),
        device=find_device(job.device),
        train_on=None if train_on is None else find_suite(train_on, plugins, data_root),
        tasks_at_once=_tasks_at_once(result),
    )
    return with_code(cell, plugins)


def with_seed_of(cell: Cell, result: Result) -> Cell:
    """The cell of a result that differs from the cell's own in its seed alone."""
    return replace(cell, seed=result.job.seed, tasks_at_once=_tasks_at_once(result))


def check_same_data(result: Result, cell: Cell, library: SuiteCache) -> None:
    """Refuse to compare a result with a cell that would see other examples.

    Raises:
        DataError: episodes, images or what is trained on have changed, or cannot be read.
    """
    opened = library.open(cell.suite)
    stored = [result.suite.episodes_digest, *(b.episodes_digest for b in result.blocks)]
    found = [opened.at(block).episodes.digest for block in range(len(stored))]
    trained_on = None
    if cell.train_on is not None:
        material = library.open(cell.train_on).material
        trained_on = None if material is None else material.digest
    for what, one, other in (
        ("episodes", stored, found),
        ("images", result.suite.pixels_digest, opened.dataset.pixels),
        ("training data", result.suite.train_on_digest, trained_on),
    ):
        if one != other:
            raise DataError(f"the {what} of {cell.suite.name} are not those of the stored result")


def _tasks_at_once(result: Result) -> int:
    return 0 if result.training is None else result.training.tasks_at_once
