"""A request ready to run: plugins loaded, names looked up, finished cells found."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from metabench.cell.cell import Cell
from metabench.errors import DataError, UsageError
from metabench.plugins.registry import Plugins, load_plugins
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.seen import examples_of_episodes, seen_in_training
from metabench.suites.suite import Suite
from metabench.supervisor.environment import cores
from metabench.supervisor.estimate import TimeEstimate, estimate
from metabench.supervisor.job_executor import JobExecutor
from metabench.supervisor.local_executor import LocalExecutor
from metabench.supervisor.plan import Planned, Policy, plan
from metabench.supervisor.request import Request
from metabench.supervisor.requested_cells import request_cells
from metabench.supervisor.run_settings import RunSettings, threads_each
from metabench.supervisor.runner import CellExecutor, Runner, Watcher
from metabench.supervisor.suite_cache import SuiteCache


class PreparedRun:
    """A request ready to run: plugins loaded, names looked up, finished cells found.

    Use it as a context manager; leaving it removes temporary files.

    Args:
        request: what to run and how.
        policy: which finished cells to run again.
        cells: run these instead of those that the request names.
        plugins: the request's plugins, if they are loaded already.

    Raises:
        UsageError: a name, parameter or number is wrong.
        DataError: a suite's data is missing or too small.
    """

    def __init__(
        self,
        request: Request,
        policy: Policy | None = None,
        cells: Sequence[Cell] | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self.request = request
        self.plugins: Plugins = load_plugins(request.sources) if plugins is None else plugins
        self.cells = request_cells(request, self.plugins) if cells is None else list(cells)
        self.store = Store(request.results_folder)
        self.suites = SuiteCache(request.data_root)
        try:
            # Data depends on the suite alone: one cell of each is checked.
            for cell in {cell.suite.name: cell for cell in self.cells}.values():
                self.suites.open(cell.suite).check_blocks(request.blocks)
                if cell.train_on is not None:
                    _check_training(cell.train_on, cell.suite, self.suites)
                    check_unseen(cell.train_on, cell.suite, self.suites)
            self.planned: list[Planned] = plan(
                self.cells,
                self.store,
                self.suites.open,
                replace(policy or Policy(), blocks=request.blocks),
            )
        except BaseException:
            self.suites.close()
            raise

    def __enter__(self) -> PreparedRun:
        return self

    def __exit__(self, *exception: object) -> None:
        self.suites.close()

    def estimate(self) -> TimeEstimate:
        """Estimate the time of the cells that are to be run."""
        if not any(planned.todo for planned in self.planned):
            return TimeEstimate(0.0, 0)  # without reading stored results
        stored = (result for _, result in self.store.read()[0])
        jobs = min(self.request.jobs, cores())  # more jobs than cores share the cores
        return estimate(self.planned, stored, jobs, threads_each(self.request))

    def run(
        self,
        watcher: Watcher | None = None,
        *,
        timed: bool = True,
        frozen: bool = False,
        workers: Executor | None = None,
    ) -> list[Result]:
        """Run the cells that are to be run; return their results.

        Args:
            watcher: notified of what happens.
            timed: measure times, memory, and what answers depend on.
            frozen: take learners from their checkpoints, whatever code made them.
            workers: run cells as jobs of this executor; None: in threads of this process.

        Raises:
            KeyboardInterrupt: the user pressed Ctrl-C; finished cells are stored.
            DataError: results cannot be written, or a worker has other episodes.
            UsageError: a worker has other code.
        """
        request = self.request
        if todo := [planned.cell.path for planned in self.planned if planned.todo]:
            self.store.check_writable(todo)
        settings = RunSettings.of(request, self.store.root, timed=timed, frozen=frozen)
        executor: CellExecutor
        executor = local = LocalExecutor(self.suites, settings, request.jobs)
        if workers is not None:
            executor = JobExecutor(workers, request.jobs, local, self.plugins)
        runner = Runner(
            self.store, self.suites, self.plugins, settings, executor, watcher or Watcher()
        )
        return runner.run(self.planned)


def _check_training(train_on: Suite, suite: Suite, suites: SuiteCache) -> None:
    """Refuse base data that does not fit a suite, before any cell runs."""
    given, wanted = suites.open(train_on), suites.open(suite)
    if given.material is None:
        raise UsageError(f"--train-on {train_on.name}: it has no base data to train on")
    if train_on.kind != suite.kind:
        raise UsageError(
            f"--train-on {train_on.name}: it is for {train_on.kind}, {suite.name} for {suite.kind}"
        )
    if given.dataset.shape != wanted.dataset.shape:
        raise UsageError(
            f"--train-on {train_on.name}: its images have shape {given.dataset.shape}, those of "
            f"{suite.name} {wanted.dataset.shape}"
        )


def check_unseen(train_on: Suite, suite: Suite, suites: SuiteCache) -> None:
    """Refuse to train on another suite's base data if it contains test images or functions.

    Raises:
        DataError: it does.
    """
    material, opened = suites.open(train_on).material, suites.open(suite)
    if material is None:
        return
    twins, tested = len(seen_in_training(opened, material)), len(examples_of_episodes(opened))
    targets = opened.dataset.targets
    by_chance = 0 if targets is None else tested // 100  # points that agree to the last bit
    if twins > by_chance:
        what = "images" if targets is None else "points"
        raise DataError(
            f"{twins} of {tested} test {what} of {suite.name} are in the base data of "
            f"{train_on.name}: train on another suite"
        )
