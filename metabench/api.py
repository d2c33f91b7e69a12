"""metabench from Python: `metabench.run`, and a request made ready, which the command uses."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from metabench.doors import Doors
from metabench.errors import UsageError
from metabench.harness.cell import Cell
from metabench.harness.conditions import Conditions
from metabench.harness.environment import ALLOCATOR, cores
from metabench.harness.estimate import Estimate, estimate
from metabench.harness.library import Library, check_unseen
from metabench.harness.plan import Planned, Policy, plan
from metabench.harness.request import Request, request_cells
from metabench.harness.runner import Runner, Silent, Watcher
from metabench.plugins import Plugins, load_plugins
from metabench.results.schema import Result
from metabench.results.store import Store
from metabench.suites.suite import Suite

log = logging.getLogger(__name__)


class Run:
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
        self.library = Library(request.data_root or None)
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

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.library.close()

    def estimate(self) -> Estimate:
        """How long the cells that are to be run may take."""
        if not any(planned.todo for planned in self.planned):
            return Estimate(0.0, 0)  # without reading what is stored
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
        conditions = Conditions(
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


def _check_training(train_on: Suite, suite: Suite, library: Library) -> None:
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


def run(
    suites: Sequence[str | Suite] | str | Suite = Request.suites,
    algorithms: Sequence[str] | str = (),
    *,
    seeds: int = 1,
    budget: str = "smoke",
    device: str = "cpu",
    train_on: str = "",
    results: str | Path = "",
    plugins: Sequence[str] = (),
    jobs: int = 1,
    time_limit: float = 0.0,
    data_root: str | Path = "",
    force: bool = False,
    retry_failed: bool = False,
) -> list[Result]:
    """Run every algorithm on every suite and store the results; finished cells are kept.

    Args:
        suites: suites, or names, globs, `folder:PATH`, `manifest:FILE`; default: the
            embedded ones.
        algorithms: addresses such as "protonet[lr=0.01]"; default: all there are.
        seeds: how many seeds, from 0.
        budget: smoke, standard, paper, tasks=N or seconds=S.
        device: cpu, cuda, ... or auto.
        train_on: meta-train on this suite's base data in place of the suite's own.
        results: the folder; default: results, or results-smoke for the smoke budget.
        plugins: modules or files that provide more, as for `-p`.
        jobs: cells side by side.
        time_limit: seconds for each cell; 0: none.
        data_root: where datasets are kept.
        force: run finished cells again.
        retry_failed: run failed cells again.

    Returns:
        The results of all cells asked for, those from before included.

    Raises:
        UsageError: a name, parameter or number is wrong.
        DataError: data is missing or too small, or results cannot be written.
    """
    request = Request(
        suites=[suites] if isinstance(suites, str | Suite) else suites,
        algorithms=[algorithms] if isinstance(algorithms, str) else algorithms,
        seeds=seeds,
        budget=budget,
        device=device,
        train_on=train_on,
        results=str(results),
        plugins=plugins,
        jobs=jobs,
        time_limit=time_limit,
        data_root=str(data_root),
    )
    with Run(request, Policy(force=force, retry_failed=retry_failed)) as prepared:
        for line in prepared.plugins.warnings:
            log.warning(line)
        prepared.run()
        found = (prepared.store.load(cell.path) for cell in prepared.cells)
        return [result for result in found if result is not None]
