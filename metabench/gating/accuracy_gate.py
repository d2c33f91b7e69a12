"""The accuracy gate: run the cells of a baseline again and compare the scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from metabench.cell.cell import Cell
from metabench.errors import MetabenchError, UsageError, reason
from metabench.files import open_checkpoint
from metabench.gating.baseline import Case, Stored, grouped
from metabench.gating.gate_result import Gated, failed, outcome
from metabench.plugins.registry import Plugins, load_plugins
from metabench.results.store import CHECKPOINTS, Store
from metabench.statistics.non_inferiority import LOOKS
from metabench.supervisor.cell_from_result import cell_of, check_same_data, with_seed_of
from metabench.supervisor.plan import Policy
from metabench.supervisor.prepared_run import PreparedRun
from metabench.supervisor.request import Request
from metabench.supervisor.runner import Watcher
from metabench.supervisor.suite_cache import SuiteCache
from metabench.tables.margins import Margins

_CHUNK = 1 << 20  # bytes

Watching = Callable[[int], AbstractContextManager[Watcher | None]]


@dataclass(frozen=True)
class Gate:
    """A gate over stored results."""

    baseline: Path  # a results folder; it is only read
    stored: Sequence[Stored]  # the results to gate, as `gating.baseline.select` returns them
    margins: Margins = field(default_factory=Margins)  # how much worse each may be
    # load learners from the baseline's checkpoints and gate only their evaluation
    frozen: bool = False
    # how to run; suites, algorithms, seeds and budget come from the baseline
    request: Request = field(default_factory=Request)
    plugins: Plugins | None = None  # those of the request, if they are loaded already

    def run(self, watching: Watching = lambda cells: nullcontext()) -> list[Gated]:
        """Run the baseline's cells again, on as many blocks of episodes as the verdicts need.

        Args:
            watching: returns the watcher of a look, given its number of cells.

        Raises:
            DataError: results cannot be written.
            UsageError: a number is wrong, or results would go into the baseline.
        """
        plugins = load_plugins(self.request.sources) if self.plugins is None else self.plugins
        self.margins.check([*plugins.algorithms, *(r.job.algorithm for _, r in self.stored)])
        for _, result in self.stored:  # check every margin before any cell runs
            self.margins.of_result(result)
        cases = self._cases(grouped(self.stored), plugins)
        with self._scratch() as scratch:
            if self.frozen:
                cases = [self._with_checkpoints(case, scratch) for case in cases]
            found = {id(case): failed(case, case.error) for case in cases if case.error}
            for look in range(LOOKS):
                pending = [case for case in cases if id(case) not in found]
                if not pending:
                    break
                self._run(pending, scratch, look, watching, plugins)
                for case in pending:
                    new = [Store(scratch).load(cell.path) for cell in case.cells]
                    seen = outcome(case, new, look, self.margins, self.frozen)
                    if seen.final:
                        found[id(case)] = seen
        return [found[id(case)] for case in cases]

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """Yield the folder for new results, which is never in the baseline."""
        if not self.request.results:
            with TemporaryDirectory(prefix="metabench-gate-") as temporary:
                yield Path(temporary)
            return
        folder = Path(self.request.results)
        if folder.resolve().is_relative_to(self.baseline.resolve()):
            raise UsageError(f"--results {folder}: that is the baseline; choose another folder")
        if self.frozen:  # they would look as if the current code had trained them
            raise UsageError("--results with --frozen: results without training are not stored")
        yield folder

    def _cases(self, grouped: Sequence[Sequence[Stored]], plugins: Plugins) -> list[Case]:
        with closing(SuiteCache(self.request.data_root)) as suites:
            return [self._case(stored, plugins, suites) for stored in grouped]

    def _case(self, stored: Sequence[Stored], plugins: Plugins, suites: SuiteCache) -> Case:
        data_root = self.request.data_root
        cells: list[Cell] = []
        for path, result in stored:
            try:
                # Cells differ only by seed, so the suite is read and the code hashed once.
                first = cells[0] if cells else cell_of(result, plugins, data_root, pinned=False)
                cells.append(with_seed_of(first, result))
                check_same_data(result, first, suites)
            except MetabenchError as error:
                return Case(stored, error=f"{self.baseline / path}: {error}")
        return Case(stored, cells)

    def _run(
        self,
        cases: Sequence[Case],
        scratch: Path,
        look: int,
        watching: Watching,
        plugins: Plugins,
    ) -> None:
        cells = [cell for case in cases for cell in case.cells]
        request = replace(
            self.request,
            results=str(scratch),
            threads=self.request.threads or _shared_threads(cases),
            blocks=look + 1,
            keep_checkpoints=True,  # further looks need no training
        )
        # Results in the user's folder may come from another machine or another torch.
        policy = Policy(force=look == 0 and bool(self.request.results))
        with PreparedRun(request, policy, cells, plugins) as prepared:
            todo = sum(planned.todo for planned in prepared.planned)
            with watching(todo) as watcher:
                prepared.run(watcher, timed=False, frozen=self.frozen)

    def _with_checkpoints(self, case: Case, scratch: Path) -> Case:
        """Copy the checkpoints of a case; if one cannot be read, the case has this error."""
        for (path, result), cell in zip(case.stored, case.cells, strict=not case.error):
            if result.training is None:
                continue
            source = self.baseline / CHECKPOINTS / path.with_suffix(".pt")
            try:
                _copy_checkpoint(
                    source, self.baseline, scratch / CHECKPOINTS / cell.path.with_suffix(".pt")
                )
            except FileNotFoundError:
                return Case(case.stored, error=f"no {source}; keep it with run --keep-checkpoints")
            except OSError as error:
                return Case(
                    case.stored, error=f"checkpoint {source} cannot be read: {reason(error)}"
                )
        return case


def _copy_checkpoint(source: Path, root: Path, target: Path) -> None:
    """Copy a checkpoint; long runs of zeros take no space, as in a sparse file.

    Raises:
        OSError: it cannot be read, is not acceptable below `root`, or the disk is full.
    """
    with open_checkpoint(source, root) as stream:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            left = os.fstat(stream.fileno()).st_size  # not more, if it grows
            while chunk := stream.read(min(_CHUNK, left)):
                left -= len(chunk)
                if chunk.count(0) == len(chunk):
                    copy.seek(len(chunk), os.SEEK_CUR)
                else:
                    copy.write(chunk)
            copy.truncate(copy.tell())


def _shared_threads(cases: Sequence[Case]) -> int:
    """Return the thread count that the whole baseline shares; 0 (all cores) if there is none."""
    found = {r.environment.threads for case in cases for r in case.old if r.environment}
    return found.pop() if len(found) == 1 else 0
