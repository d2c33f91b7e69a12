"""Many cells: submitted to an executor, each stored as soon as it is finished."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from metabench.cell.cell import Cell
from metabench.cell.messages import Progress
from metabench.errors import DataError
from metabench.plugins.registry import Plugins
from metabench.results.cell_locks import CellLocks
from metabench.results.schema import Result, Status
from metabench.results.store import CHECKPOINTS, Store
from metabench.supervisor.cell_run import Watch
from metabench.supervisor.plan import Planned, Policy, plan
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache

_SECONDS_BETWEEN_LOOKS = 0.5
# Training resumes after these; after the others it is done, or would fail again.
_RESUMABLE: frozenset[Status] = frozenset({"interrupted", "timeout", "oom", "crashed"})

_log = logging.getLogger(__name__)


class Watcher:
    """An object that is called when something happens, from any thread; this one does nothing."""

    def started(self, cell: Cell) -> None: ...
    def progress(self, cell: Cell, progress: Progress) -> None: ...
    def finished(self, cell: Cell, result: Result) -> None: ...


class CellExecutor(Protocol):
    """An executor of cells; entered before the first one, left after the last."""

    width: int  # how many cells it may have at a time

    def __enter__(self) -> object: ...
    def __exit__(self, *exception: object) -> None: ...

    def submit(self, cell: Cell, watch: Watch) -> Future[Result]:
        """Run a cell; `watch` is called with its progress, if that is known."""
        ...

    def stop(self) -> None:
        """End cells early, as far as possible."""
        ...


class Runner:
    """A runner of planned cells, which stores their results.

    Args:
        store: where results go.
        suites: where suites come from.
        plugins: notified of finished cells.
        settings: how cells are run.
        executor: runs them.
        watcher: notified of what happens.
    """

    def __init__(
        self,
        store: Store,
        suites: SuiteCache,
        plugins: Plugins,
        settings: RunSettings,
        executor: CellExecutor,
        watcher: Watcher,
    ) -> None:
        self.store, self.suites, self.plugins = store, suites, plugins
        self.settings, self.executor, self.watcher = settings, executor, watcher
        self._results: dict[Cell, Result] = {}
        self._active = 0  # cells that the executor has
        self._unended: set[Cell] = set()  # those of them whose end is not announced in `_ended`
        # Ctrl-C within `concurrent.futures.wait` may leave a lock taken that a cell needs to
        # end, or come out as another error; a queue written in C has no such moment.
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(self, planned: Sequence[Planned]) -> list[Result]:
        """Run the cells that are to be run; return their results.

        Raises:
            KeyboardInterrupt: the user pressed Ctrl-C; finished cells are stored.
            DataError: results cannot be written.
        """
        self._write_missing_code(planned)
        todo = [p for p in planned if p.todo]
        if not todo:
            return []
        locks = CellLocks(self.store.root)
        try:
            with self.executor:
                left = self._run_free(todo, locks)
                if left:
                    _log.warning("waiting for %d cells that another run is running", len(left))
                while left:
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    left = self._run_free(left, locks)
        finally:
            locks.close()
            self.store.remove_empty(CHECKPOINTS)
        return [self._results[p.cell] for p in todo]

    def _write_missing_code(self, planned: Sequence[Planned]) -> None:
        """Write the lists of definitions that earlier runs did not, such as on a full disk."""
        current = (p.cell.code for p in planned if p.state == "done")
        for digest, code in {code.digest: code for code in current if code is not None}.items():
            if self.store.load_code(digest) is None:
                with contextlib.suppress(DataError):  # the folder may be another user's
                    self.store.write_code(digest, code.definitions)

    def _run_free(self, todo: Sequence[Planned], locks: CellLocks) -> list[Planned]:
        """Run the cells that no other run is at; return the others."""
        left: list[Planned] = []
        try:
            for planned in todo:
                # Cells are locked only when they begin: other runs into the folder share the rest.
                while self._active >= self.executor.width:
                    self._wait_for_one()
                if locks.take(planned.cell.path):
                    self._begin(planned, locks)
                else:
                    left.append(planned)
            while self._active:
                self._wait_for_one()
        except BaseException:
            self.executor.stop()
            while self._unended:  # cells that were stopped are stored too
                self._ended.get()
            raise
        return left

    def _wait_for_one(self) -> None:
        error = self._ended.get()
        self._active -= 1
        if error is not None:
            raise error

    def _begin(self, planned: Planned, locks: CellLocks) -> None:
        """Submit a cell whose lock is taken, unless another run has finished it meanwhile."""
        cell, policy = planned.cell, Policy(blocks=self.settings.blocks)
        (now,) = plan([cell], self.store, self.suites.open, policy)
        self.watcher.started(cell)
        done = now.state in ("done", "failed") and now.stored != planned.stored
        if done and now.stored is not None:
            locks.release(cell.path)
            self._results[cell] = now.stored
            self.watcher.finished(cell, now.stored)
            return
        if now.state == "damaged":
            self.store.set_aside(cell.path)
        if planned.state == "forced":
            self._discard_checkpoint(cell)
        _log.info("%s begins; its process prints to %s", cell, self.settings.log(cell.path))
        future = self.executor.submit(cell, partial(self.watcher.progress, cell))
        self._active += 1
        self._unended.add(cell)
        future.add_done_callback(partial(self._end, planned, locks))

    def _end(self, planned: Planned, locks: CellLocks, future: Future[Result]) -> None:
        """Store the result of a cell, in the executor's thread, which Ctrl-C does not interrupt."""
        error: BaseException | None = None
        try:
            result = self._results[planned.cell] = future.result()
            self._store(planned, result)
        except BaseException as caught:
            error = caught
        finally:
            locks.release(planned.cell.path)
            self._unended.discard(planned.cell)
            self._ended.put(error)

    def _store(self, planned: Planned, result: Result) -> None:
        cell = planned.cell
        if not _keeps_older(planned, result):
            file = self.store.write(cell.path, result)
            if cell.code is not None and cell.code.digest == result.job.code:
                self.store.write_code(cell.code.digest, cell.code.definitions)
            _log.info("%s is stored in %s after %.1f s", cell, file, result.wall_s)
            if result.status not in _RESUMABLE and not self.settings.keep_checkpoints:
                self._discard_checkpoint(cell)
        self.watcher.finished(cell, result)
        self.plugins.cell_finished(cell, result)

    def _discard_checkpoint(self, cell: Cell) -> None:
        with contextlib.suppress(OSError):  # a checkpoint that stays does no harm
            self.settings.checkpoint(cell.path).unlink(missing_ok=True)


def _keeps_older(planned: Planned, result: Result) -> bool:
    """Return whether an older score stays in place of a result.

    It does if the result is of an interrupted cell, or failed where the older score is by the same
    code on the same data.
    """
    if planned.stored is None or planned.stored.scores is None:
        return False
    same = planned.stored.job.code == result.job.code and planned.state in ("partial", "forced")
    return result.status == "interrupted" or (same and result.scores is None)
