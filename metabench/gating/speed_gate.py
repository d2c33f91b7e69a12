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
from metabench.gating.baseline import address_of
from metabench.gating.duel_ratios import PhaseRatio, compare
from metabench.gating.duel_rounds import run_duel
from metabench.gating.speed_verdict import SpeedGated, speed_verdict
from metabench.plugins.registry import Plugins, load_plugins
from metabench.plugins.sources import PluginSources
from metabench.results.schema import Result
from metabench.supervisor.cell_from_result import cell_of
from metabench.supervisor.older_checkout import OlderCheckout
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache


@dataclass(frozen=True)
class SpeedGate:
    """A comparison of the times of two versions of the code."""

    checkout: OlderCheckout  # the folder with the older version
    margin: float  # how much slower the current version may be: 0.1 is 10 %
    rounds: int  # number of fresh pairs of processes for each case
    request: Request  # how to run
    # called after each round with the case and the number of finished rounds
    watch: Callable[[str, int], None] = lambda case, done: None

    def run(self, results: Sequence[Result]) -> list[SpeedGated]:
        """Time every suite and algorithm among the results once."""
        sources = PluginSources.from_env(self.request.plugins_dirs, self.request.plugins)
        plugins = load_plugins(sources)
        cases = {
            (r.suite.name, r.suite.train_on, address_of(r), r.job.budget, r.job.device): r
            for r in results
        }
        with closing(SuiteCache(self.request.data_root or None)) as library:
            return [self._case(result, plugins, sources, library) for result in cases.values()]

    def _case(
        self, result: Result, plugins: Plugins, sources: PluginSources, library: SuiteCache
    ) -> SpeedGated:
        outcome = SpeedGated(
            suite=result.suite.name,
            algorithm=address_of(result),
            budget=result.job.budget,
            verdict="error",
        )
        try:
            cell = cell_of(result, plugins, self.request.data_root or None, pinned=False)
            if self._is_same(cell, plugins, sources):
                reason = "the code is the same"
                return msgspec.structs.replace(outcome, verdict="pass", reason=reason)
            phases = self._duel(cell, sources, library)
        except MetabenchError as error:
            return msgspec.structs.replace(outcome, reason=str(error))
        verdict, reason = speed_verdict(phases, self.margin)
        return msgspec.structs.replace(outcome, verdict=verdict, reason=reason, phases=phases)

    def _is_same(self, cell: Cell, plugins: Plugins, sources: PluginSources) -> bool:
        """Return whether both versions have the same code.

        Raises:
            UsageError: the older version's folder would run the current plugin.
        """
        name = cell.configured.algorithm.name
        there = self.checkout.code(self.checkout.sources(sources), cell)
        here = plugins.algorithm(name).origin
        if here is not None and there.origin and Path(there.origin).resolve() == here.resolve():
            raise UsageError(
                f"{name} in {self.checkout.root} is the current version ({here}): install the "
                f"older version into {self.checkout.root / '.venv'}"
            )
        return cell.code is not None and there.digest == cell.code.digest

    def _duel(self, cell: Cell, sources: PluginSources, library: SuiteCache) -> list[PhaseRatio]:
        request, case = self.request, f"{cell.suite.name} {cell.configured.address}"
        with TemporaryDirectory(prefix="metabench-gate-") as logs:
            # One process at a time has all cores.
            now = RunSettings.of(replace(request, jobs=1), sources, Path(logs))
            process = msgspec.structs.replace(now.process, sources=self.checkout.sources(sources))
            then = replace(now, process=process, checkout=self.checkout)
            both = (now, then)
            watch = self.watch
            return compare(
                run_duel((cell, cell), library, both, self.rounds, lambda n: watch(case, n))
            )
