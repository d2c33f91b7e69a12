"""One cell in any process: a job as JSON in, a result file as JSON out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace as with_fields

from metabench.cell.cell import Cell
from metabench.errors import DataError, UsageError
from metabench.plugins.registry import load_plugins
from metabench.results.result_file import encode
from metabench.results.schema import Result
from metabench.supervisor.cell_job import CellJob
from metabench.supervisor.cell_run import CellRun
from metabench.supervisor.suite_cache import SuiteCache


def run_cell(job: bytes) -> bytes:
    """Run a cell: load its plugins, open its suite, start its learner process.

    Args:
        job: a `CellJob` as JSON.

    Returns:
        The cell's result file. A learner that fails is a result too.

    Raises:
        UsageError: the cell's code here is not the submitter's, or a name is unknown here.
        DataError: the episodes here are not the submitter's, or data cannot be read.
    """
    asked = CellJob.decode(job)
    settings = asked.settings
    plugins = load_plugins(settings.process.sources)
    cell = asked.cell.find(plugins, settings.data_root)
    with (
        closing(SuiteCache(settings.data_root)) as suites,
        TemporaryDirectory(prefix="metabench-cell-") as folder,
    ):
        _check_same(asked, cell, suites)
        result = CellRun(cell, suites, replace(settings, results=Path(folder))).run()
    return encode(_without_log(result))


def _check_same(asked: CellJob, cell: Cell, suites: SuiteCache) -> None:
    """Refuse a cell that is not the submitter's."""
    code = "" if cell.code is None else cell.code.digest
    if code != asked.code:
        raise UsageError(
            f"{cell}: the worker has code {code}, the submitter {asked.code}: use the same version "
            "of metabench and of all plugins on both"
        )
    episodes = suites.open(cell.suite).episodes.digest
    if episodes != asked.episodes:
        raise DataError(
            f"{cell}: the worker has episodes {episodes}, the submitter {asked.episodes}: use the "
            "same dataset on both"
        )


def _without_log(result: Result) -> Result:
    """Return a result that names no log, which was removed with its folder."""
    if result.failure is None:
        return result
    return with_fields(result, failure=with_fields(result.failure, log=""))
