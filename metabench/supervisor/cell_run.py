"""One cell from start to finish: its learner process, its limits, its result."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from time import perf_counter

import msgspec

from metabench.cell import commands
from metabench.cell.cell import Cell, other_kind
from metabench.cell.messages import CheckpointSettings, Failed, Progress, Start
from metabench.errors import MetabenchError
from metabench.results.schema import Block, Properties, Result
from metabench.supervisor.cell_result import CellOutcome, cell_result, train_on_digest
from metabench.supervisor.crash_reason import with_cause
from metabench.supervisor.learner_process import LearnerFailed, LearnerProcess
from metabench.supervisor.run_settings import RunSettings
from metabench.supervisor.suite_cache import SuiteCache

Watch = Callable[[Progress], None]

_OUTSIDE = ("timeout", "interrupted", "oom")  # failures that say nothing about the learner


class CellRun:
    """A run of one cell; `stop` may be called from another thread at any time.

    Args:
        cell: what to run.
        suites: where its suite comes from, and what its learner may train on.
        settings: how to run it.
        watch: called with the progress of meta-training.

    Raises:
        DataError: the suite's data cannot be read, or saved for the learner process; or a link in
            the results folder leads out of it.
    """

    def __init__(
        self,
        cell: Cell,
        suites: SuiteCache,
        settings: RunSettings,
        watch: Watch = lambda progress: None,
    ) -> None:
        self.cell, self.settings, self.watch = cell, settings, watch
        self._suites = suites
        self._opened = suites.open(cell.suite)
        self._material = suites.material(cell.base)
        self._log = settings.log(cell.path)
        self._checkpoint = settings.checkpoint(cell.path)
        self._outcome = CellOutcome()
        self._stopped = ""  # why, once it was
        self._process: LearnerProcess | None = None
        self._lock = threading.Lock()

    def run(self) -> Result:
        """Run the cell; a failure becomes a result too."""
        started = perf_counter()
        with self._suites.other_runs() as others:
            failed = self._try()
        outcome = self._outcome
        if failed is not None:  # scores and times count only if the cell came to its end
            outcome = CellOutcome(trained=outcome.trained, failed=failed)
            if self._process is not None:
                outcome.log = str(self._log.relative_to(self.settings.results))
        outcome.contended = self.settings.contended or others.is_set()
        outcome.wall_s = perf_counter() - started
        return cell_result(
            self.cell,
            self._opened,
            None if self._material is None else self._material[0],
            self.settings,
            outcome,
        )

    def stop(self, why: str = "interrupted") -> None:
        """End the cell; its status will be `why`: "interrupted" or "timeout"."""
        with self._lock:
            self._stopped = self._stopped or why
            process = self._process
        if process is not None:
            process.stop()

    def _try(self) -> Failed | None:
        """Train and test; return why that failed, if it did."""
        if self.cell.kind not in self.cell.configured.algorithm.tasks:
            return Failed("not_applicable", other_kind(self.cell), "")
        try:
            self._train_and_test()
        except LearnerFailed as error:
            return self._reason(error.failed)
        except MetabenchError as error:
            return Failed("error", str(error), "")
        except OSError as error:  # of the machine, such as too many open files
            return Failed("interrupted", f"it could not be run: {error}", "")
        except ValueError as error:  # outputs that metabench's own code would not send
            return Failed("crashed", str(error), "")
        return None

    def _train_and_test(self) -> None:
        start, settings, budget = self._start(), self.settings, self.cell.budget
        outcome = self._outcome
        with self._lock:
            if self._stopped:
                raise LearnerFailed(Failed("interrupted", "interrupted before it began", ""))
            process = self._process = LearnerProcess(self._log, settings, self.watch)
        try:
            process.call_after(settings.time_limit, partial(self.stop, "timeout"))
            # Importing scipy takes a tenth of a second, meanwhile the learner's process starts.
            from metabench.cell.scoring import score

            outcome.trained = process.train(start)
            episodes = budget.scored(self.cell.suite.episodes)
            if settings.timed:  # first, because the first test episode is the cold one
                command = commands.measure(self._opened, episodes, budget.timing_seconds)
                outcome.measured = process.measure(command)
            outcome.scores = score(process, self._opened, episodes)
            for block in map(self._opened.at, range(1, settings.blocks)):
                scores = score(process, block, episodes)
                outcome.blocks.append(Block(episodes_digest=block.episodes.digest, scores=scores))
            outcome.properties = self._probe(
                process, min(budget.probed_episodes, episodes), episodes
            )
            process.finish()
        finally:
            process.close()

    def _probe(self, process: LearnerProcess, episodes: int, scored: int) -> Properties | None:
        """Measure what answers depend on; a learner that fails at this keeps its scores."""
        if not self.settings.timed or episodes < 2:
            return None
        from metabench.cell.probe import probe

        try:
            return probe(process, self._opened, episodes, scored, self._outside)
        except LearnerFailed as error:
            if self._stopped:
                raise
            reason = error.failed.reason
            return Properties(
                inductive=None, isolated=None, independent=None, episodes=episodes, problem=reason
            )

    def _outside(self, error: Exception) -> str:
        """Return the cause outside the learner of a failed answer; "" if there is none."""
        if not isinstance(error, LearnerFailed) or self._process is None:
            return ""
        failed = error.failed
        if failed.status == "crashed":
            failed = self._reason(failed)
            if self._process.ending() == "killed by SIGKILL":  # by Linux, where memory is short
                return failed.reason
        return failed.reason if failed.status in _OUTSIDE else ""

    def _reason(self, failed: Failed) -> Failed:
        """Return the cause that is known here of what looks like a failure of the learner."""
        if self._stopped == "timeout":
            return Failed("timeout", f"over the time limit of {self.settings.time_limit:g} s", "")
        if self._stopped:
            return Failed("interrupted", "interrupted", "")
        if self._process is None:
            return failed
        folder = None if self._material is None else self._material[1]
        limit = self.settings.process.memory_limit
        return with_cause(failed, self._process, limit, folder)

    def _start(self) -> Start:
        settings = self.settings
        start = commands.start(self.cell, self._opened, self._material, settings.process)
        checkpoint = CheckpointSettings(
            file=str(self._checkpoint.absolute()),
            cell=self.cell.path.as_posix(),
            identity=self._identity(start),
            every=settings.checkpoint_every,
            keep=settings.keep_checkpoints,
            frozen=settings.frozen,
        )
        return msgspec.structs.replace(start, checkpoint=checkpoint)

    def _identity(self, start: Start) -> str:
        """Return the digest of all that meta-training depends on, except its code.

        The learner process reads the code and adds its digest.
        """
        dataset = self._opened.dataset
        material = None if self._material is None else self._material[0]
        parts = (
            start.algorithm,
            start.params,
            start.task,
            start.plan,
            start.threads,
            dataset.pixels,
            dataset.content,
            None if material is None else material.protocol,
            train_on_digest(self.cell, material),
            version("torch"),
        )
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
