"""The speed gate: time the current code against an older version of it.

Times measured on different days are not comparable, so stored times are not used. Both versions
run in turns, in fresh processes on this machine, as in a duel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from metabench.cell.cell import Cell
from metabench.errors import MetabenchError, UsageError
from metabench.gating.duel_ratios import PhaseRatio, phase_ratios
from metabench.gating.duel_rounds import run_duel
from metabench.gating.speed_verdict import SpeedGated, speed_verdict
from metabench.plugins.registry import Plugins
from metabench.results.schema import Result
from metabench.supervisor.cell_from_result import cell_of
from metabench.supervisor.older_checkout import OlderCheckout
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache


class CurrentPlugin(UsageError):
    """The folder of an older version that would run the current plugin."""


@dataclass(frozen=True)
class SpeedGate:
    """A comparison of the times of two versions of the code."""

    checkout: OlderCheckout  # the folder with the older version
    margin: float  # how much slower the current version may be: 0.1 is 10 %
    rounds: int  # number of fresh pairs of processes for each case
    request: Request  # how to run
    plugins: Plugins  # those of the request
    # called after each round with the case and the number of finished rounds
    watch: Callable[[str, int], None] = lambda case, done: None

    def run(self, results: Sequence[Result]) -> list[SpeedGated]:
        """Time every suite and algorithm among the results once."""
        cases = {
            (r.suite.name, r.suite.train_on, r.job.address, r.job.budget, r.job.device): r
            for r in results
        }
        with closing(SuiteCache(self.request.data_root)) as suites:
            return [self._case(result, suites) for result in cases.values()]

    def check(self, results: Sequence[Result]) -> None:
        """Check that the older version has code of its own for every algorithm.

        Raises:
            CurrentPlugin: its folder would run the current plugin.
        """
        for result in {r.job.algorithm: r for r in results}.values():
            try:
                self._is_same(self._cell(result))
            except CurrentPlugin:
                raise
            except MetabenchError:  # for the verdict on the case
                pass

    def _cell(self, result: Result) -> Cell:
        return cell_of(result, self.plugins, self.request.data_root, pinned=False)

    def _case(self, result: Result, suites: SuiteCache) -> SpeedGated:
        outcome = SpeedGated(
            suite=result.suite.name,
            algorithm=result.job.address,
            budget=result.job.budget,
            verdict="error",
        )
        try:
            cell = self._cell(result)
            if self._is_same(cell):
                reason = "the code is the same"
                return msgspec.structs.replace(outcome, verdict="pass", reason=reason)
            phases = self._duel(cell, suites)
        except MetabenchError as error:
            return msgspec.structs.replace(outcome, reason=str(error))
        verdict, reason = speed_verdict(phases, self.margin)
        return msgspec.structs.replace(outcome, verdict=verdict, reason=reason, phases=phases)

    def _is_same(self, cell: Cell) -> bool:
        """Return whether both versions have the same code.

        Raises:
            CurrentPlugin: the older version's folder would run the current plugin.
            UsageError: it cannot load the algorithm.
        """
        name = cell.configured.algorithm.name
        there = self.checkout.code(self.checkout.sources(self.request.sources), cell)
        here = self.plugins.algorithm(name).origin
        if here is not None and there.origin and Path(there.origin).resolve() == here.resolve():
            raise CurrentPlugin(
                f"{name} in {self.checkout.root} is the current version ({here}): install the "
                f"older version into {self.checkout.root / '.venv'}"
            )
        return cell.code is not None and there.digest == cell.code.digest

    def _duel(self, cell: Cell, suites: SuiteCache) -> list[PhaseRatio]:
        request, case = self.request, f"{cell.suite.name} {cell.configured.address}"
        with TemporaryDirectory(prefix="metabench-gate-") as logs:
            # One process at a time has all cores.
            now = RunSettings.of(replace(request, jobs=1), Path(logs))
            older = self.checkout.sources(request.sources)
            process = msgspec.structs.replace(now.process, sources=older)
            then = replace(now, process=process, checkout=self.checkout)
            both = (now, then)
            watch = self.watch
            return phase_ratios(
                run_duel((cell, cell), suites, both, self.rounds, lambda n: watch(case, n))
            )
