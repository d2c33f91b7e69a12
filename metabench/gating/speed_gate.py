"""The gate's other half: is the present code as quick as an older version of it?

Times of two days do not compare, so nothing stored is looked at: both versions run in turns, in
fresh processes on this machine, as in a duel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from metabench.plugins.sources import Doors
from metabench.results.schema import Result
from metabench.supervisor.cell_from_result import cell_of
from metabench.supervisor.code_version import CodeVersion
from metabench.supervisor.environment import ALLOCATOR, cores
from metabench.supervisor.request import Request
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache


@dataclass(frozen=True)
class SpeedGate:
    """How to time two versions of the code against each other.

    Attributes:
        home: the folder with the older version.
        margin: how much slower the present one may be: 0.1 is 10 %.
        rounds: fresh pairs of processes for each case.
        request: how to run.
        watch: told when a round of a case is over.
    """

    home: CodeVersion
    margin: float
    rounds: int
    request: Request
    watch: Callable[[str, int], None] = lambda case, done: None

    def run(self, results: Sequence[Result]) -> list[SpeedGated]:
        """Time every suite and algorithm among stored results, each once."""
        doors = Doors.from_env(self.request.plugins_dirs, self.request.plugins)
        plugins = load_plugins(doors)
        cases = {
            (r.suite.name, r.suite.train_on, address_of(r), r.job.budget, r.job.device): r
            for r in results
        }
        library = SuiteCache(self.request.data_root or None)
        try:
            return [self._case(result, plugins, doors, library) for result in cases.values()]
        finally:
            library.close()

    def _case(
        self, result: Result, plugins: Plugins, doors: Doors, library: SuiteCache
    ) -> SpeedGated:
        outcome = SpeedGated(
            suite=result.suite.name,
            algorithm=address_of(result),
            budget=result.job.budget,
            verdict="error",
        )
        try:
            cell = cell_of(result, plugins, self.request.data_root or None, pinned=False)
            if self._is_same(cell, plugins, doors):
                reason = "the code is the same"
                return msgspec.structs.replace(outcome, verdict="pass", reason=reason)
            phases = self._duel(cell, doors, library)
        except MetabenchError as error:
            return msgspec.structs.replace(outcome, reason=str(error))
        verdict, reason = speed_verdict(phases, self.margin)
        return msgspec.structs.replace(outcome, verdict=verdict, reason=reason, phases=phases)

    def _is_same(self, cell: Cell, plugins: Plugins, doors: Doors) -> bool:
        """Whether both versions are the same code.

        Raises:
            UsageError: what runs in the older version's folder is the present plugin.
        """
        name = cell.configured.algorithm.name
        there = self.home.code(self.home.doors(doors), cell)
        here = plugins.algorithm(name).origin
        if here is not None and there.origin and Path(there.origin).resolve() == here.resolve():
            raise UsageError(
                f"{name} in {self.home.root} is the present one ({here}): install the older "
                f"version there, into {self.home.root / '.venv'}"
            )
        return cell.code is not None and there.digest == cell.code.digest

    def _duel(self, cell: Cell, doors: Doors, library: SuiteCache) -> list[PhaseRatio]:
        request, case = self.request, f"{cell.suite.name} {cell.configured.address}"
        with TemporaryDirectory(prefix="metabench-gate-") as logs:
            now = RunSettings(
                doors=doors,
                results=Path(logs),
                threads=request.threads or cores(),
                allocator=ALLOCATOR if request.allocator else {},
                time_limit=request.time_limit or None,
            )
            then = replace(now, doors=self.home.doors(doors), home=self.home)
            both = (now, then)
            watch = self.watch
            return compare(
                run_duel((cell, cell), library, both, self.rounds, lambda n: watch(case, n))
            )
