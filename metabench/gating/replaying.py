"""Replays: run one stored cell again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from tempfile import TemporaryDirectory

from metabench.errors import DataError, NothingToRun
from metabench.plugins.registry import Plugins, load_plugins
from metabench.results.schema import Result
from metabench.supervisor.cell_from_result import cell_of, check_same_data
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.runner import Watcher
from metabench.supervisor.suite_cache import SuiteCache


def replay(
    result: Result, request: Request, watcher: Watcher | None = None, plugins: Plugins | None = None
) -> Result:
    """Run the cell of a result again with the current code, and store nothing.

    Args:
        result: a result with scores.
        request: how to run it; 0 threads means as many as recorded in the result.
        watcher: notified of progress.
        plugins: as loaded for the request; None: they are loaded.

    Raises:
        NothingToRun: the result has no scores to compare with.
        UsageError: suite, algorithm, a parameter or the device no longer exists.
        DataError: the suite's examples have changed, or cannot be read.
    """
    if result.scores is None:
        raise NothingToRun(
            f"the result has no scores ({result.status}); try metabench run --retry-failed"
        )
    plugins = plugins or load_plugins(request.sources)
    cell = cell_of(result, plugins, request.data_root)
    with closing(SuiteCache(request.data_root)) as suites:
        check_same_data(result, cell, suites)
    threads = 0 if result.environment is None else result.environment.threads
    with TemporaryDirectory(prefix="metabench-replay-") as folder:
        asked = replace(
            request,
            results=folder,
            threads=request.threads or threads,
            blocks=1 + len(result.blocks),
        )
        with PreparedRun(asked, cells=[cell], plugins=plugins) as prepared:
            prepared.run(watcher, timed=False)
            found = prepared.store.load(cell.path)
    if found is None:
        raise DataError(f"{cell}: no result was stored")
    return found
