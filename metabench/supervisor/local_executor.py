"""Cells on this machine: threads of this process, each with one learner process at a time."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from metabench.cell.cell import Cell
from metabench.results.schema import Result
from metabench.supervisor.cell_run import CellRun, Watch
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache
from metabench.threads import thread_starts


class LocalExecutor:
    """An executor on this machine; its cells share the suites that this process has opened.

    Args:
        suites: where suites come from.
        settings: how to run cells.
        jobs: cells side by side.
    """

    def __init__(self, suites: SuiteCache, settings: RunSettings, jobs: int) -> None:
        self.suites, self.settings, self.width = suites, settings, jobs
        self._threads = ThreadPoolExecutor(jobs)
        self._running: set[CellRun] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown()

    def submit(self, cell: Cell, watch: Watch) -> Future[Result]:
        """Run a cell in a thread; `watch` is called there.

        Raises:
            OSError: no thread can be started.
        """
        with thread_starts():
            return self._threads.submit(self._run, cell, watch)

    def stop(self) -> None:
        """End the learner processes of all cells; their status is "interrupted"."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        threads = []
        for run in running:
            thread = threading.Thread(target=run.stop)
            try:
                with thread_starts():
                    thread.start()
                threads.append(thread)
            except OSError:
                run.stop()
        for thread in threads:
            thread.join()

    def _run(self, cell: Cell, watch: Watch) -> Result:
        run = CellRun(cell, self.suites, self.settings, watch)
        with self._lock:
            self._running.add(run)
            if self._stopping:
                run.stop()
        try:
            return run.run()
        finally:
            with self._lock:
                self._running.discard(run)
