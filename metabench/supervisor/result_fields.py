"""What a result says about the cell that it is of."""

from __future__ import annotations

from pathlib import Path

from metabench.cell.cell import Cell, training_shape
from metabench.cell.messages import Measured, Trained
from metabench.results.schema import Job, Memory, SuiteFacts
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import Material


def job_of(cell: Cell, trained: Trained | None, material: tuple[Material, Path] | None) -> Job:
    """What was asked for; training episodes only if the learner turned out to use them."""
    configured = cell.configured
    episodic = trained is not None and trained.episodic
    planned = ("", {}) if cell.code is None else (cell.code.digest, dict(cell.code.files))
    code, files = (trained.code, trained.files) if trained and trained.code else planned
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
        training=training_shape(cell, material[0]) if episodic and material else None,
    )


def memory_of(cell: Cell, trained: Trained | None, measured: Measured | None) -> Memory | None:
    """Bytes before the learner was built, and its peaks at test as far as they were measured."""
    if trained is None:
        return None
    return Memory(
        kind="resident" if cell.device == "cpu" else "device",
        bare=trained.bare_memory,
        adapt=None if measured is None else measured.adapt_memory,
        predict=None if measured is None else measured.predict_memory,
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
        data=dict(opened.dataset.facts),
    )
