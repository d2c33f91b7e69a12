"""One cell from start to finish: its learner process, its limits, its result."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import msgspec

from metabench.cell import commands
from metabench.cell.cell import Cell, other_kind
from metabench.cell.messages import Checkpoint, Failed, Measured, Progress, Start, Trained
from metabench.errors import MetabenchError
from metabench.results.schema import Block, Failure, Properties, Result, Scores, Status
from metabench.results.store import CHECKPOINTS, LOGS
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import Material
from metabench.supervisor.environment import environment
from metabench.supervisor.learner_process import LearnerFailed, LearnerProcess
from metabench.supervisor.result_fields import job_of, memory_of, suite_facts
from metabench.supervisor.run_settings import RunSettings

Watch = Callable[[Progress], None]

# Share of the time that a thread may wait for a core before the times are worth less.
_CONTENDED = 0.05
# Training is gone on with after these; after the others it is done, or would fail again.
_RESUMABLE: frozenset[Status] = frozenset({"interrupted", "timeout", "oom", "crashed"})
_OUT_OF_MEMORY = ("bad_alloc", "allocate memory", "memory allocation", "MemoryError")
_LAST_WORDS = 4096  # bytes of the log


class _Found(NamedTuple):
    """What a cell that went well has given."""

    measured: Measured | None
    scores: Scores
    blocks: list[Block]
    properties: Properties | None


class CellRun:
    """Runs one cell; `stop` may be called from another thread at any time.

    Args:
        cell: what to run.
        opened: its suite.
        material: what the learner may train on, and the folder it is saved in; or None.
        conditions: how to run it.
        watch: told about the progress of meta-training.
    """

    def __init__(
        self,
        cell: Cell,
        opened: OpenSuite,
        material: tuple[Material, Path] | None,
        conditions: RunSettings,
        watch: Watch = lambda progress: None,
    ) -> None:
        self.cell, self.opened, self.conditions, self.watch = cell, opened, conditions, watch
        self.material = material
        self.train_on_digest = None
        if material is not None and cell.train_on is not None:
            self.train_on_digest = material[0].digest
        self.log = conditions.results / LOGS / cell.path.with_suffix(".log")
        self.checkpoint = conditions.results / CHECKPOINTS / cell.path.with_suffix(".pt")
        self._stopped = ""  # why, once it was
        self._process: LearnerProcess | None = None
        self._trained: Trained | None = None
        self._lock = threading.Lock()

    def run(self) -> Result:
        """Run the cell; a failure becomes a result too."""
        started = perf_counter()
        found: _Found | None = None
        failed: Failed | None = None
        if self.cell.kind not in self.cell.configured.algorithm.tasks:
            failed = Failed("not_applicable", other_kind(self.cell), "")
        else:
            try:
                found = self._train_and_test()
            except LearnerFailed as error:
                failed = self._stop_reason() or self._out_of_memory(error.failed) or error.failed
            except (MetabenchError, OSError) as error:
                failed = Failed("error", str(error), "")
            except ValueError as error:  # outputs that no harness code sent
                failed = Failed("crashed", str(error), "")
        return self._result(found, failed, perf_counter() - started)

    def discard_checkpoint(self, result: Result | None = None) -> None:
        """Remove what training left, when its result is stored or it is to be done anew."""
        done = result is None or result.status not in _RESUMABLE
        if not done or (result is not None and self.conditions.keep_checkpoints):
            return
        with contextlib.suppress(OSError):  # a checkpoint too many does no harm
            self.checkpoint.unlink(missing_ok=True)

    def stop(self, why: str = "interrupted") -> None:
        """End the cell; its status will be `why`: "interrupted" or "timeout"."""
        with self._lock:
            self._stopped = self._stopped or why
            process = self._process
        if process is not None:
            process.stop()

    def _train_and_test(self) -> _Found:
        start, conditions, budget = self._start(), self.conditions, self.cell.budget
        with self._lock:
            if self._stopped:
                raise LearnerFailed(Failed("interrupted", "interrupted before it began", ""))
            process = self._process = LearnerProcess(
                self.log, conditions.threads, conditions.allocator, conditions.grace, self.watch
            )
        limit = conditions.time_limit
        seconds = min(limit or 0, threading.TIMEOUT_MAX)
        timer = threading.Timer(seconds, self.stop, ("timeout",))
        try:
            if limit is not None:
                timer.start()
            # Importing scipy takes a tenth of a second, meanwhile the learner's process starts.
            from metabench.cell.scoring import score

            self._trained = process.train(start)
            episodes = budget.scored(self.cell.suite.episodes)
            measured = None
            if conditions.timed:  # first, because the first test episode is the cold one
                order = commands.measure(self.opened, episodes, budget.timing_seconds)
                measured = process.measure(order)
            scores = score(process, self.opened, episodes)
            further = map(self.opened.at, range(1, conditions.blocks))
            blocks = [
                Block(episodes_digest=block.episodes.digest, scores=score(process, block, episodes))
                for block in further
            ]
            properties = self._probe(process, min(budget.probed_episodes, episodes), episodes)
            process.finish()
            return _Found(measured, scores, blocks, properties)
        finally:
            timer.cancel()
            process.close()

    def _probe(self, process: LearnerProcess, episodes: int, scored: int) -> Properties | None:
        """Measure what answers depend on; a learner that cannot be asked so keeps its scores."""
        if not self.conditions.timed or episodes < 2:
            return None
        from metabench.cell.probe import probe

        try:
            return probe(process, self.opened, episodes, scored)
        except LearnerFailed as error:
            if self._stopped:
                raise
            reason = error.failed.reason
            return Properties(
                inductive=None, isolated=None, independent=None, episodes=episodes, problem=reason
            )

    def _stop_reason(self) -> Failed | None:
        if self._stopped == "timeout":
            return Failed("timeout", f"over the time limit of {self.conditions.time_limit:g} s", "")
        if self._stopped:
            return Failed("interrupted", "interrupted", "")
        return None

    def _out_of_memory(self, failed: Failed) -> Failed | None:
        """Native code that gets no memory ends the process, with these words if any."""
        limit = self.conditions.memory_limit
        if failed.status != "crashed" or limit is None or self._process is None:
            return None
        last = self._process.log.tail(_LAST_WORDS)
        if not any(words in last for words in _OUT_OF_MEMORY):
            return None
        reason = f"over the memory limit of {limit / 2**20:.0f} MiB: {failed.reason}"
        return Failed("oom", reason, "")

    def _start(self) -> Start:
        conditions = self.conditions
        start = commands.start(
            self.cell,
            self.opened,
            self.material,
            conditions.doors,
            conditions.threads,
            conditions.memory_limit,
        )
        checkpoint = Checkpoint(
            file=str(self.checkpoint.absolute()),
            identity=self._identity(start),
            every=conditions.checkpoint_every,
            keep=conditions.keep_checkpoints,
            frozen=conditions.frozen,
        )
        return msgspec.structs.replace(start, checkpoint=checkpoint)

    def _identity(self, start: Start) -> str:
        """Digest of all that decides how training goes, but for code, which its process reads."""
        dataset = self.opened.dataset
        parts = (
            start.algorithm,
            start.params,
            start.task,
            start.plan,
            start.threads,
            dataset.pixels,
            dataset.content,
            None if self.material is None else self.material[0].protocol,
            self.train_on_digest,
            version("torch"),
        )
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()

    def _result(self, found: _Found | None, failed: Failed | None, wall_s: float) -> Result:
        trained, conditions = self._trained, self.conditions
        measured = None if found is None else found.measured
        waited = [
            share
            for share in (
                None if trained is None else trained.waited,
                None if measured is None else measured.timing.waited,
            )
            if share is not None
        ]
        return Result(
            status="ok" if failed is None else failed.status,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=wall_s,
            suite=suite_facts(self.cell, self.opened, self.train_on_digest),
            job=job_of(self.cell, self._trained, self.material),
            scores=None if found is None else found.scores,
            blocks=[] if found is None else found.blocks,
            parameters=None if trained is None else trained.parameters,
            training=None if trained is None else trained.training,
            timing=None if measured is None else measured.timing,
            memory=memory_of(self.cell, trained, measured),
            properties=None if found is None else found.properties,
            environment=environment(
                trained,
                conditions.threads,
                conditions.allocator,
                conditions.contended or max(waited, default=0.0) > _CONTENDED,
                conditions.results,
                conditions.doors.options,
            ),
            failure=None if failed is None else self._failure(failed),
        )

    def _failure(self, failed: Failed) -> Failure:
        log = self.log.relative_to(self.conditions.results)
        printed = "" if self._process is None else str(log)
        return Failure(reason=failed.reason, traceback=failed.traceback, log=printed)
