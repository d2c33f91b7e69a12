"""Cells in this process, for notebooks, tests and debuggers; nothing is timed."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from time import perf_counter

from metabench.cell import commands
from metabench.cell.cell import Cell, other_kind
from metabench.cell.messages import Failed, Progress
from metabench.cell.scoring import score
from metabench.errors import NotApplicable
from metabench.learner import load
from metabench.plugins.registry import Plugins
from metabench.results.schema import Result, Scores
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import TrainingData
from metabench.supervisor.cell_result import CellOutcome, cell_result
from metabench.supervisor.cell_run import Watch
from metabench.supervisor.suite_cache import SuiteCache
from metabench.worker.session import Session, with_backbones


class InProcessExecutor:
    """An executor that runs each cell in this process, before `submit` returns.

    An exception that a learner raises keeps its traceback in the future, for a debugger.

    Args:
        suites: where suites come from.
        plugins: where backbones come from.
        episodes: how many to score; None: as many as the budget says.
    """

    width = 1

    def __init__(self, suites: SuiteCache, plugins: Plugins, episodes: int | None = None) -> None:
        self.suites, self.plugins, self.episodes = suites, plugins, episodes

    def __enter__(self) -> InProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def stop(self) -> None:
        """Do nothing: no cell is running between calls of `submit`."""

    def submit(self, cell: Cell, watch: Watch = lambda progress: None) -> Future[Result]:
        """Run a cell; `watch` is called with the progress of meta-training."""
        future: Future[Result] = Future()
        try:
            future.set_result(self._run(cell, watch))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _run(self, cell: Cell, watch: Watch) -> Result:
        outcome, started = CellOutcome(), perf_counter()
        opened, material = self.suites.open(cell.suite), self.suites.open(cell.base).material
        try:
            outcome.scores = self._score(cell, opened, material, watch)
        except NotApplicable as error:
            outcome.failed = Failed("not_applicable", str(error), "")
        outcome.wall_s = perf_counter() - started
        return cell_result(cell, opened, material, None, outcome)

    def _score(
        self, cell: Cell, opened: OpenSuite, material: TrainingData | None, watch: Watch
    ) -> Scores:
        if cell.kind not in cell.configured.algorithm.tasks:
            raise NotApplicable(other_kind(cell))
        task = with_backbones(commands.task(cell, opened), self.plugins)
        build = partial(load(cell.configured.algorithm.build), task, **cell.configured.params)
        session = Session.of(build, cell.seed)
        plan = None if material is None else commands.plan(cell, material)
        session.train(plan, material, lambda fraction, values: watch(Progress(fraction, values)))
        return score(session, opened, self.episodes or cell.budget.scored(cell.suite.episodes))
