"""The rounds of a duel: two learners timed alternately, on one machine, in fresh processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

from metabench.cell import commands
from metabench.cell.cell import Cell
from metabench.cell.messages import Measured
from metabench.errors import MetabenchError, UsageError
from metabench.plugins.registry import Plugins
from metabench.supervisor.learner_process import LearnerFailed, LearnerProcess
from metabench.supervisor.lookup import (
    find_algorithms,
    find_budget,
    find_device,
    find_suite,
    with_code,
)
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache

_TURNS = 4  # of each side in one round
FEWEST_ROUNDS = 2  # for an interval
_SECONDS = 0.25  # of warm-up, and of sampling, of each mode in one turn


class SideFailed(MetabenchError):
    """One of the two learners could not be timed.

    Attributes:
        traceback: of the learner's exception; "" if it raised none.
    """

    def __init__(self, message: str, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


@dataclass
class Side:
    """The measurements of one learner in one round."""

    training_s: float | None = None  # seconds of meta-training; None if there is none
    measured: list[Measured] = field(default_factory=list)  # one measurement for each turn

    def samples(self, phase: str) -> list[float]:
        """Return the seconds of one of `PHASES`, sample by sample."""
        if phase == "meta-training":
            return [] if self.training_s is None else [self.training_s]
        timings = [measured.timing for measured in self.measured]
        if phase == "adapt":
            return [s for timing in timings for s in timing.adapt_s]
        if phase == "predict":
            return [s for timing in timings for s in timing.predict_s]
        return [s / timing.throughput_episodes for timing in timings for s in timing.throughput_s]


PHASES = ("meta-training", "adapt", "predict", "episode, many at a time")

Round = tuple[Side, Side]


def duel_cells(a: str, b: str, request: Request, plugins: Plugins) -> tuple[Cell, Cell]:
    """Return the two cells of a duel; they may be the same.

    Args:
        a: the address of an algorithm.
        b: the address of the other algorithm.
        request: names one suite, the budget and the device.
        plugins: the catalogue of suites and algorithms.

    Raises:
        UsageError: a name, parameter or number is wrong, or an address names several algorithms.
    """
    (name,) = request.suites
    if isinstance(name, str):
        name = find_suite(name, plugins, request.data_root)
    cells = []
    for address in (a, b):
        found = find_algorithms([address], plugins, name.kind)
        if len(found) > 1:
            raise UsageError(f"'{address}' names {len(found)} algorithms: name one")
        budget, device = find_budget(request.budget), find_device(request.device)
        cell = Cell(name, found[0], seed=0, budget=budget, device=device)
        cells.append(with_code(cell, plugins))
    return cells[0], cells[1]


def run_duel(
    cells: tuple[Cell, Cell],
    suites: SuiteCache,
    settings: tuple[RunSettings, RunSettings],
    rounds: int,
    watch: Callable[[int], None] = lambda done: None,
) -> list[Round]:
    """Time two cells of one suite against each other.

    In each round, both learners start in fresh processes and are trained one after the other.
    They then take turns at the test episodes while the other one is idle. The order alternates
    between rounds and between turns, so that slow changes of the machine affect both alike.

    Args:
        cells: as `duel_cells` returns them.
        suites: opens their suite.
        settings: how to run each.
        rounds: number of fresh pairs of processes.
        watch: called with the number of finished rounds.

    Raises:
        SideFailed: a learner raised, or its process died.
        UsageError: there are fewer than two rounds, which have no interval.
        DataError: the suite's data is missing.
    """
    if rounds < FEWEST_ROUNDS:
        raise UsageError(f"rounds={rounds}: an interval needs at least {FEWEST_ROUNDS}")
    found: list[Round] = []
    for number in range(rounds):
        found.append(_round(cells, suites, settings, first=number % 2))
        watch(number + 1)
    return found


def _round(
    cells: Sequence[Cell], suites: SuiteCache, settings: Sequence[RunSettings], first: int
) -> Round:
    sides = Side(), Side()
    order = (first, 1 - first)
    overdue = threading.Event()
    with ExitStack() as stack:
        processes: dict[int, LearnerProcess] = {}
        for side in order:  # the second starts when the first is trained, to leave it undisturbed
            processes[side] = _start(side, settings[side], stack, overdue)
            try:
                sides[side].training_s = _train(
                    cells[side], suites, settings[side], processes[side]
                )
            except LearnerFailed as error:
                raise _failed(cells[side], error, overdue) from None
        for turn in range(_TURNS):
            for side in order if turn % 2 == 0 else order[::-1]:
                opened = suites.open(cells[side].suite)
                asked = commands.measure(opened, opened.suite.episodes, _SECONDS)
                try:
                    sides[side].measured.append(processes[side].measure(asked))
                except LearnerFailed as error:
                    raise _failed(cells[side], error, overdue) from None
    return sides


def _time_out(process: LearnerProcess, overdue: threading.Event) -> None:
    overdue.set()
    process.stop()


def _start(
    side: int, settings: RunSettings, stack: ExitStack, overdue: threading.Event
) -> LearnerProcess:
    log = settings.results / f"{'ab'[side]}.log"
    process = LearnerProcess(log, settings, lambda progress: None)
    stack.callback(process.close)
    stack.callback(process.finish)  # runs before close
    process.call_after(settings.time_limit, partial(_time_out, process, overdue))
    return process


def _train(
    cell: Cell, suites: SuiteCache, settings: RunSettings, process: LearnerProcess
) -> float | None:
    trained = process.train(
        commands.start(cell, suites.open(cell.suite), suites.material(cell.base), settings.process)
    )
    return None if trained.training is None else trained.training.seconds


def _failed(cell: Cell, error: LearnerFailed, overdue: threading.Event) -> SideFailed:
    if overdue.is_set():
        return SideFailed(f"{cell}: over the time limit", "")
    return SideFailed(f"{cell}: {error.failed.reason}", error.failed.traceback)
