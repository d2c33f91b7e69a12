"""A request made ready to run: plugins loaded, names looked up, finished cells found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from metabench.cell.cell import Cell
from metabench.errors import UsageError
from metabench.plugins.registry import Plugins, load_plugins
from metabench.plugins.sources import Doors
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.suite import Suite
from metabench.supervisor.environment import ALLOCATOR, cores
from metabench.supervisor.estimate import TimeEstimate, estimate
from metabench.supervisor.plan import Planned, Policy, plan
from metabench.supervisor.request import Request, request_cells
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.runner import Runner, Silent, Watcher
from metabench.supervisor.suite_cache import SuiteCache, check_unseen


class PreparedRun:
    """A request made ready: plugins loaded, names looked up, finished cells found.

    Use it as a context manager; leaving it removes temporary files.

    Args:
        request: what to run, and how.
        policy: which finished cells to run again.
        cells: to be run in place of those that the request names.

    Raises:
        UsageError: a name, parameter or number is wrong.
        DataError: a suite's data is missing or too small.
    """

    def __init__(
        self,
        request: Request,
        policy: Policy | None = None,
        cells: Sequence[Cell] | None = None,
    ) -> None:
        self.request = request
        self.doors = Doors.from_env(request.plugins_dirs, request.plugins)
        self.plugins: Plugins = load_plugins(self.doors)
        self.cells = request_cells(request, self.plugins) if cells is None else list(cells)
        self.store = Store(request.results_folder)
        self.library = SuiteCache(request.data_root or None)
        try:
            # Data is a matter of suites: one cell of each is looked at.
            for cell in {cell.suite.name: cell for cell in self.cells}.values():
                self.library.open(cell.suite).check_blocks(request.blocks)
                if cell.train_on is not None:
                    _check_training(cell.train_on, cell.suite, self.library)
                check_unseen(cell, self.library)
            self.planned: list[Planned] = plan(
                self.cells,
                self.store,
                self.library.open,
                replace(policy or Policy(), blocks=request.blocks),
            )
        except BaseException:
            self.library.close()
            raise

    def __enter__(self) -> PreparedRun:
        return self

    def __exit__(self, *exception: object) -> None:
        self.library.close()

    def estimate(self) -> TimeEstimate:
        """How long the cells that are to be run may take."""
        if not any(planned.todo for planned in self.planned):
            return TimeEstimate(0.0, 0)  # without reading what is stored
        stored = (result for _, result in self.store.read()[0])
        return estimate(self.planned, stored, self.request.jobs)

    def run(
        self, watcher: Watcher | None = None, *, timed: bool = True, frozen: bool = False
    ) -> list[Result]:
        """Run what is to be run; returns the results of these cells.

        Args:
            watcher: told what happens.
            timed: measure times, memory, and what answers depend on.
            frozen: take learners from their checkpoints, whatever the code is now.

        Raises:
            KeyboardInterrupt: the user asked to stop; finished cells are stored.
            DataError: results cannot be written.
        """
        request = self.request
        if any(planned.todo for planned in self.planned):
            self.store.check_writable()
        conditions = RunSettings(
            doors=self.doors,
            results=self.store.root,
            threads=request.threads or max(1, cores() // request.jobs),
            allocator=ALLOCATOR if request.allocator else {},
            time_limit=request.time_limit or None,
            memory_limit=math.ceil(request.memory_limit * 2**20) or None,
            checkpoint_every=request.checkpoint_every,
            keep_checkpoints=request.keep_checkpoints,
            contended=request.jobs > 1,
            blocks=request.blocks,
            timed=timed,
            frozen=frozen,
        )
        runner = Runner(self.store, self.library, self.plugins, conditions, watcher or Silent())
        return runner.run(self.planned, request.jobs)


def _check_training(train_on: Suite, suite: Suite, library: SuiteCache) -> None:
    """Find out before cells run that one suite's base data cannot serve another."""
    given, wanted = library.open(train_on), library.open(suite)
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
