"""Cells as jobs for any `concurrent.futures.Executor`: processes, or other machines."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from functools import partial

from metabench.cell.cell import Cell
from metabench.plugins.registry import Plugins
from metabench.results.result_file import decode
from metabench.results.schema import Result
from metabench.supervisor.cell_job import job_of
from metabench.supervisor.cell_run import Watch
from metabench.supervisor.local_executor import LocalExecutor
from metabench.supervisor.run_cell import run_cell


class JobExecutor:
    """An executor that submits each cell as a job.

    Cells whose suite no other process can look up run on this machine.

    Jobs report no progress. A job that has begun cannot be stopped.

    Args:
        workers: runs the jobs; whoever made it shuts it down.
        width: how many cells it may have at a time.
        local: runs the other cells.
        plugins: where suites and algorithms come from.
    """

    def __init__(
        self,
        workers: Executor,
        width: int,
        local: LocalExecutor,
        plugins: Plugins,
    ) -> None:
        self.width = width
        self._workers, self._local, self._plugins = workers, local, plugins
        self._submitted: set[Future[bytes]] = set()

    def __enter__(self) -> JobExecutor:
        self._local.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._local.__exit__(*exception)

    def submit(self, cell: Cell, watch: Watch) -> Future[Result]:
        """Submit a cell."""
        local = self._local
        job = job_of(cell, local.suites.open(cell.suite), local.settings, self._plugins)
        if job is None:
            return local.submit(cell, watch)
        result: Future[Result] = Future()
        submitted = self._workers.submit(run_cell, job.encode())
        self._submitted.add(submitted)
        submitted.add_done_callback(partial(_decode_into, result))
        submitted.add_done_callback(self._submitted.discard)
        return result

    def stop(self) -> None:
        """Cancel the jobs that have not begun."""
        for job in list(self._submitted):
            job.cancel()
        self._local.stop()


def _decode_into(result: Future[Result], job: Future[bytes]) -> None:
    try:
        found = decode(job.result())
    except BaseException as error:  # also that the job was cancelled
        result.set_exception(error)
    else:
        result.set_result(found)
