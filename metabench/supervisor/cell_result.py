"""The result of a cell, put together from its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from metabench.cell.cell import Cell
from metabench.cell.messages import Failed, Measured, Trained
from metabench.cell.training_shape import training_shape
from metabench.results.schema import (
    Block,
    Failure,
    Job,
    Memory,
    Properties,
    Result,
    Scores,
    SuiteFacts,
)
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import TrainingData
from metabench.supervisor.environment import environment
from metabench.supervisor.run_settings import RunSettings

# Times are uncertain if a thread waited for a core for a larger share of the time than this.
_CONTENDED = 0.05


@dataclass
class CellOutcome:
    """The outcome of running a cell; a cell that failed has no scores and no times."""

    trained: Trained | None = None  # the learner process's report on meta-training
    measured: Measured | None = None  # times and memory at test
    scores: Scores | None = None  # of the leaderboard's episodes
    blocks: list[Block] = field(default_factory=list)  # scores of further blocks
    properties: Properties | None = None  # what answers depend on
    failed: Failed | None = None  # why there is no score
    # the file with what the learner process printed, relative to the results folder; "" if no
    # process was started
    log: str = ""
    contended: bool = False  # other cells or runs were active on the machine
    wall_s: float = 0.0  # seconds of the whole cell

    @property
    def waited(self) -> float:
        """Largest share of the time that a thread had no core to run on, as far as known."""
        trained = None if self.trained is None else self.trained.waited
        measured = None if self.measured is None else self.measured.timing.waited
        return max(trained or 0.0, measured or 0.0)


def cell_result(
    cell: Cell,
    opened: OpenSuite,
    material: TrainingData | None,
    settings: RunSettings | None,
    outcome: CellOutcome,
) -> Result:
    """Put a cell's result together.

    Args:
        cell: the cell.
        opened: its suite.
        material: what its learner may train on.
        settings: how the cell was run; None: the machine is not recorded.
        outcome: what it gave.
    """
    trained, measured, failed = outcome.trained, outcome.measured, outcome.failed
    return Result(
        status="ok" if failed is None else failed.status,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=outcome.wall_s,
        suite=suite_facts(cell, opened, material),
        job=_job(cell, trained, material),
        scores=outcome.scores,
        blocks=outcome.blocks,
        parameters=None if trained is None else trained.parameters,
        training=None if trained is None else trained.training,
        timing=None if measured is None else measured.timing,
        memory=None if trained is None else _memory(cell, trained, measured),
        properties=outcome.properties,
        environment=None
        if settings is None
        else environment(settings, trained, outcome.contended or outcome.waited > _CONTENDED),
        failure=None
        if failed is None
        else Failure(reason=failed.reason, traceback=failed.traceback, log=outcome.log),
    )


def suite_facts(cell: Cell, opened: OpenSuite, material: TrainingData | None) -> SuiteFacts:
    """Return what a result records about its suite."""
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
        train_on_address="" if cell.train_on is None else cell.train_on.address,
        train_on_digest=train_on_digest(cell, material),
        address=suite.address,
        data=dict(opened.dataset.facts),
    )


def train_on_digest(cell: Cell, material: TrainingData | None) -> str | None:
    """Return the digest of what a cell's learner may train on, if it is another suite's."""
    return None if cell.train_on is None or material is None else material.digest


def _job(cell: Cell, trained: Trained | None, material: TrainingData | None) -> Job:
    """Return the identity of the cell; training episodes only if the learner used them."""
    configured = cell.configured
    episodic = trained is not None and trained.episodic
    # The learner process read the code when it started; a file may have been edited before that.
    if trained is not None and trained.code:
        code, files = trained.code, trained.files
    else:
        code, files = ("", {}) if cell.code is None else (cell.code.digest, dict(cell.code.files))
    return Job(
        algorithm=configured.algorithm.name,
        params=dict(configured.params),
        chosen=dict(configured.chosen),
        seed=cell.seed,
        budget=cell.budget.name,
        device=cell.device_type,
        provider=configured.provider,
        code=code,
        files=files,
        transductive=configured.transductive,
        deterministic=configured.algorithm.deterministic,
        training=training_shape(cell, material) if episodic and material is not None else None,
    )


def _memory(cell: Cell, trained: Trained, measured: Measured | None) -> Memory:
    return Memory(
        kind="resident" if cell.device == "cpu" else "device",
        bare=trained.bare_memory,
        adapt=None if measured is None else measured.adapt_memory,
        predict=None if measured is None else measured.predict_memory,
    )
