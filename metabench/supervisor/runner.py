"""Many cells: side by side if asked for, each stored the moment it is finished."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Protocol, TypeVar

from msgspec.structs import replace

from metabench.cell.cell import Cell
from metabench.cell.messages import Progress
from metabench.errors import DataError
from metabench.plugins.registry import Plugins
from metabench.results.cell_locks import CellLocks
from metabench.results.schema import Result
from metabench.results.store import CHECKPOINTS, Store
from metabench.supervisor.cell_run import CellRun
from metabench.supervisor.plan import Planned, Policy, plan
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache

T = TypeVar("T")

_SECONDS_BETWEEN_LOOKS = 0.5

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Told what happens, from the thread that runs the cell."""

    def started(self, cell: Cell) -> None: ...
    def progress(self, cell: Cell, progress: Progress) -> None: ...
    def finished(self, cell: Cell, result: Result) -> None: ...


class Silent:
    """Tells nobody."""

    def started(self, cell: Cell) -> None: ...
    def progress(self, cell: Cell, progress: Progress) -> None: ...
    def finished(self, cell: Cell, result: Result) -> None: ...


def as_contended(result: Result) -> Result:
    """A result whose times were taken while another run was at work on the machine."""
    if result.environment is None:
        return result
    return replace(result, environment=replace(result.environment, contended=True))


class Runner:
    """Runs planned cells and stores their results.

    Args:
        store: where results go.
        library: where suites come from.
        plugins: told about finished cells.
        conditions: how cells are run.
        watcher: told what happens.
    """

    def __init__(
        self,
        store: Store,
        library: SuiteCache,
        plugins: Plugins,
        conditions: RunSettings,
        watcher: Watcher,
    ) -> None:
        self.store, self.library, self.plugins = store, library, plugins
        self.conditions, self.watcher = conditions, watcher
        self._running: set[CellRun] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def run(self, planned: Sequence[Planned], jobs: int) -> list[Result]:
        """Run the cells that are to be run, `jobs` at a time.

        Raises:
            KeyboardInterrupt: the user asked to stop; finished cells are stored.
            DataError: results cannot be written.
        """
        todo = [p for p in planned if p.todo]
        if not todo:
            return []
        claims = CellLocks(self.store.root)
        try:
            results = self._run_all(todo, jobs, partial(self._run_claimed, claims))
            found = [result for result in results if result is not None]
            others = [p for p, result in zip(todo, results, strict=True) if result is None]
            if others:
                _log.warning("waiting for %d cells that another run is at", len(others))
                found += self._run_all(others, jobs, partial(self._run_after, claims))
            return found
        finally:
            claims.close()
            self.store.remove_empty(CHECKPOINTS)

    def _run_all(
        self, todo: Sequence[Planned], jobs: int, run_one: Callable[[Planned], T]
    ) -> list[T]:
        with ThreadPoolExecutor(jobs) as pool:
            futures: list[Future[T]] = []
            # Ctrl-C within `concurrent.futures.wait` may leave a lock taken that a cell needs to
            # end, or come out as another error; a queue written in C has no such moment.
            done: SimpleQueue[Future[T]] = SimpleQueue()
            try:
                for planned in todo:
                    futures.append(pool.submit(run_one, planned))
                    futures[-1].add_done_callback(done.put)
                for _ in futures:
                    done.get().result()
            except BaseException:
                for future in futures:
                    future.cancel()
                self._stop()
                raise
        return [future.result() for future in futures]

    def _run_claimed(self, claims: CellLocks, planned: Planned) -> Result | None:
        """Run a cell; None if another run is at it."""
        path = planned.cell.path
        if self._stopping or not claims.take(path):
            return None
        try:
            return self._done_meanwhile(planned) or self._run_one(planned)
        finally:
            claims.release(path)

    def _run_after(self, claims: CellLocks, planned: Planned) -> Result:
        """Wait until another run is through with a cell; run it if it has no result then."""
        while not self._stopping:
            result = self._run_claimed(claims, planned)
            if result is not None:
                return result
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        raise KeyboardInterrupt

    def _done_meanwhile(self, planned: Planned) -> Result | None:
        """What another run has stored since this one was planned."""
        policy = Policy(blocks=self.conditions.blocks)
        (now,) = plan([planned.cell], self.store, self.library.open, policy)
        result = now.stored
        if result is None or result == planned.stored or now.state not in ("done", "failed"):
            return None
        self.watcher.started(planned.cell)
        self.watcher.finished(planned.cell, result)
        return result

    def _run_one(self, planned: Planned) -> Result:
        cell = planned.cell
        try:
            self.store.load(cell.path)
        except DataError:
            self.store.set_aside(cell.path)
        self.watcher.started(cell)
        supervisor = CellRun(
            cell,
            self.library.open(cell.suite),
            self.library.material(cell.base),
            self.conditions,
            lambda progress: self.watcher.progress(cell, progress),
        )
        if planned.state == "forced":
            supervisor.discard_checkpoint()
        _log.info("%s begins; its process prints to %s", cell, supervisor.log)
        with self._lock:
            self._running.add(supervisor)
            if self._stopping:
                supervisor.stop()
        with self.library.company() as met:
            result = supervisor.run()
        if met.is_set():
            result = as_contended(result)
        with self._lock:
            self._running.discard(supervisor)
        if not _keeps_older(planned, result):
            file = self.store.write(cell.path, result)
            if cell.code is not None and cell.code.digest == result.job.code:
                self.store.write_code(cell.code.digest, cell.code.definitions)
            _log.info("%s is stored in %s after %.1f s", cell, file, result.wall_s)
            supervisor.discard_checkpoint(result)
        self.watcher.finished(cell, result)
        self.plugins.cell_finished(cell, result)
        return result

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            running = list(self._running)
        threads = [threading.Thread(target=supervisor.stop) for supervisor in running]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _keeps_older(planned: Planned, result: Result) -> bool:
    """Whether an attempt leaves an older score in its place, which would be lost.

    An interrupted one does; one that failed does where the score is of the same code and data.
    """
    if planned.stored is None or planned.stored.scores is None:
        return False
    same = planned.stored.job.code == result.job.code and planned.state in ("partial", "forced")
    return result.status == "interrupted" or (same and result.scores is None)
