"""One cell from start to finish: its learner process, its limits, its result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from metabench.doors import Doors
from metabench.errors import DataError, MetabenchError
from metabench.harness.cell import Cell, other_kind, training_shape, validation_shape
from metabench.harness.environment import environment
from metabench.harness.messages import Failed, Plan, Progress, Start, Task, Trained
from metabench.harness.process import LearnerFailed, LearnerProcess
from metabench.harness.scoring import Scored, score
from metabench.results.schema import Failure, Job, Result, SuiteFacts
from metabench.suites.material import Material
from metabench.suites.opened import OpenSuite

Watch = Callable[[Progress], None]

# Per class, in the task that images of learners with `fit` are counted in: suites of functions
# ask far more queries than anyone trains with.
_QUERIES = 15


@dataclass(frozen=True)
class Conditions:
    """How cells are run, the same for all cells of a run.

    Attributes:
        doors: where learner processes load plugins from.
        results: the results folder; logs go below it.
        threads: of each learner process.
        allocator: environment variables of each learner process.
        time_limit: seconds for one cell, start of the process included; None: no limit.
        grace: seconds between SIGTERM and SIGKILL.
        contended: cells run side by side.
    """

    doors: Doors
    results: Path
    threads: int
    allocator: Mapping[str, str] = field(default_factory=dict)
    time_limit: float | None = None
    grace: float = 5.0
    contended: bool = False


class Supervisor:
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
        conditions: Conditions,
        watch: Watch = lambda progress: None,
    ) -> None:
        self.cell, self.opened, self.conditions, self.watch = cell, opened, conditions, watch
        self.material: Material | None = None
        self.folder: Path | None = None
        if material is not None:
            self.material, self.folder = material
        self.train_on_digest = None
        if self.material is not None and cell.train_on is not None:
            self.train_on_digest = self.material.digest
        self.log = conditions.results / "logs" / cell.path.with_suffix(".log")
        self._stopped = ""  # why, once it was
        self._process: LearnerProcess | None = None
        self._trained: Trained | None = None
        self._lock = threading.Lock()

    def run(self) -> Result:
        """Run the cell; a failure becomes a result too."""
        started = perf_counter()
        scored: Scored | None = None
        failed: Failed | None = None
        if self.cell.kind not in self.cell.configured.algorithm.tasks:
            failed = Failed("not_applicable", other_kind(self.cell), "")
        else:
            try:
                scored = self._score()
            except LearnerFailed as error:
                failed = self._stop_reason() or error.failed
            except (MetabenchError, OSError) as error:
                failed = Failed("error", str(error), "")
            except ValueError as error:  # outputs that no harness code sent
                failed = Failed("crashed", str(error), "")
        return self._result(scored, failed, perf_counter() - started)

    def stop(self, why: str = "interrupted") -> None:
        """End the cell; its status will be `why`: "interrupted" or "timeout"."""
        with self._lock:
            self._stopped = self._stopped or why
            process = self._process
        if process is not None:
            process.stop()

    def _score(self) -> Scored:
        start, conditions = self._start(), self.conditions
        with self._lock:
            if self._stopped:
                raise LearnerFailed(Failed("interrupted", "interrupted before it began", ""))
            process = self._process = LearnerProcess(
                self.log, conditions.threads, conditions.allocator, conditions.grace, self.watch
            )
        limit = conditions.time_limit
        timer = threading.Timer(limit or 0, self.stop, ("timeout",))
        try:
            if limit is not None:
                timer.start()
            self._trained = process.train(start)
            episodes = self.cell.budget.scored(self.cell.suite.episodes)
            scored = score(process, self.opened, episodes)
            process.finish()
            return scored
        finally:
            timer.cancel()
            process.close()

    def _stop_reason(self) -> Failed | None:
        if self._stopped == "timeout":
            return Failed("timeout", f"over the time limit of {self.conditions.time_limit:g} s", "")
        if self._stopped:
            return Failed("interrupted", "interrupted", "")
        return None

    def _start(self) -> Start:
        cell, suite = self.cell, self.cell.suite
        return Start(
            doors=asdict(self.conditions.doors),
            algorithm=cell.configured.algorithm.name,
            params=dict(cell.configured.params),
            task=Task(
                input_shape=self.opened.dataset.shape,
                way=suite.way,
                shot=suite.shot,
                kind=cell.kind,
                device=cell.device,
                seed=cell.seed,
            ),
            plan=None if self.material is None else make_plan(cell, self.material),
            material=None if self.folder is None else str(self.folder),
            threads=self.conditions.threads,
        )

    def _result(self, scored: Scored | None, failed: Failed | None, wall_s: float) -> Result:
        trained, conditions = self._trained, self.conditions
        packages = {} if trained is None else trained.packages
        return Result(
            status="ok" if failed is None else failed.status,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            wall_s=wall_s,
            suite=suite_facts(self.cell, self.opened, self.train_on_digest),
            job=self._job(),
            scores=None if scored is None else scored.scores,
            parameters=None if trained is None else trained.parameters,
            training=None if trained is None else trained.training,
            timing=None if scored is None else scored.timing,
            environment=environment(
                packages,
                None if trained is None else trained.device_name,
                conditions.threads,
                conditions.allocator,
                conditions.contended,
                conditions.results,
            ),
            failure=None if failed is None else self._failure(failed),
        )

    def _failure(self, failed: Failed) -> Failure:
        log = self.log.relative_to(self.conditions.results)
        printed = "" if self._process is None else str(log)
        return Failure(reason=failed.reason, traceback=failed.traceback, log=printed)

    def _job(self) -> Job:
        cell, configured = self.cell, self.cell.configured
        episodic = self._trained is not None and self._trained.episodic
        return Job(
            algorithm=configured.algorithm.name,
            params=dict(configured.params),
            chosen=dict(configured.chosen),
            seed=cell.seed,
            budget=cell.budget.name,
            device=cell.device_type,
            provider=configured.provider,
            code=configured.code,
            training=training_shape(cell, self.material) if episodic and self.material else None,
        )


def make_plan(cell: Cell, material: Material) -> Plan:
    """How a cell's learner is to be meta-trained, in whichever way it trains."""
    suite, configured = cell.suite, cell.configured
    training, why_not = None, ""
    try:
        training = training_shape(cell, material)
    except DataError as error:  # no matter to learners that use no training episodes
        why_not = str(error)
    return Plan(
        training=training,
        why_not=why_not,
        updates=cell.budget.updates(configured.algorithm, configured.training.tasks_per_step),
        tasks=cell.budget.tasks,
        seconds=cell.budget.seconds,
        training_seed=cell.seed,
        images_per_task=suite.way * (suite.shot + min(suite.query, _QUERIES)),
        validation_episodes=cell.budget.validation_episodes,
        validation_shape=validation_shape(cell, material),
    )


def suite_facts(cell: Cell, opened: OpenSuite, train_on_digest: str | None) -> SuiteFacts:
    """What a result says about its suite."""
    suite = cell.suite
    return SuiteFacts(
        name=suite.name,
        dataset=suite.dataset_name,
        way=suite.way,
        shot=suite.shot,
        query=suite.query,
        metric=suite.metric,
        episodes=suite.episodes,
        episodes_digest=opened.episodes.digest,
        pixels_digest=opened.dataset.pixels,
        train_on=None if cell.train_on is None else cell.train_on.name,
        train_on_digest=train_on_digest,
        address=suite.address,
    )
