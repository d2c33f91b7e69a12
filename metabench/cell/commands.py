"""The commands of a cell to its learner process: train, answer episodes, be timed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from msgspec.structs import asdict

from metabench.cell.cell import Cell
from metabench.cell.messages import (
    Array,
    Batch,
    Measure,
    ProcessSettings,
    Start,
    TrainingPlan,
)
from metabench.cell.training_shape import training_shape, validation_shape
from metabench.errors import DataError
from metabench.learner import TaskSpec
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import TrainingData

# Queries per class in the task that images of learners with `fit` are converted to: suites of
# functions ask for far more queries than anyone trains with.
_QUERIES = 15
_IMAGES_AT_ONCE = 1024  # in one batch of test episodes
_STAGED_BYTES = 2**26  # of the episodes that are timed, as floats
_BLOCKS = 4  # blocks in throughput mode: repeating one would measure the cache


def task(cell: Cell, opened: OpenSuite) -> TaskSpec:
    """Return the task that the learner of a cell is built for, without backbones."""
    return TaskSpec(
        input_shape=opened.dataset.shape,
        way=cell.suite.way,
        shot=cell.suite.shot,
        kind=cell.kind,
        device=cell.device,
        seed=cell.seed,
        tasks_at_once=cell.tasks_at_once,
    )


def start(
    cell: Cell,
    opened: OpenSuite,
    material: tuple[TrainingData, Path] | None,
    settings: ProcessSettings,
) -> Start:
    """Return the command to build and meta-train the learner of a cell.

    Args:
        cell: the cell.
        opened: its suite.
        material: the data to train on and the folder that holds it; None: no data.
        settings: of the learner process.
    """
    return Start(
        **asdict(settings),
        algorithm=cell.configured.algorithm.name,
        params=dict(cell.configured.params),
        task=task(cell, opened),
        plan=None if material is None else plan(cell, material[0]),
        material=None if material is None else str(material[1]),
        suite_code=cell.suite_code,
    )


def plan(cell: Cell, material: TrainingData) -> TrainingPlan:
    """Return the plan of a cell's meta-training, for learners of every kind."""
    suite, configured = cell.suite, cell.configured
    training, why_not = None, ""
    try:
        training = training_shape(cell, material)
    except DataError as error:  # irrelevant to learners that use no training episodes
        why_not = str(error)
    return TrainingPlan(
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


def tasks_per_batch(opened: OpenSuite) -> int:
    """Return the number of test episodes answered at once: the same for every algorithm."""
    return max(1, _IMAGES_AT_ONCE // _examples(opened))


def batch(opened: OpenSuite, part: slice) -> Batch:
    """Return test episodes as a learner gets them: images and support labels, nothing else."""
    images, manifest = opened.dataset.images, opened.episodes
    return Batch(
        support_x=Array.of(images[manifest.support[part]]),
        support_y=Array.of(np.ascontiguousarray(opened.support_truth(part))),
        query_x=Array.of(images[manifest.query[part]]),
    )


def measure(opened: OpenSuite, episodes: int, seconds: float) -> Measure:
    """Return the command to time a learner, on the first of the episodes that it is scored on.

    Args:
        opened: the suite.
        episodes: number of episodes that are scored.
        seconds: time limit of warm-up and of sampling, in each mode.
    """
    tasks = min(tasks_per_batch(opened), episodes)
    block_bytes = 4 * tasks * _examples(opened) * math.prod(opened.dataset.shape)
    blocks = max(1, min(_BLOCKS, _STAGED_BYTES // block_bytes, episodes // tasks))
    return Measure(batch(opened, slice(0, blocks * tasks)), seconds, tasks)


def _examples(opened: OpenSuite) -> int:
    """Count the examples of one test episode."""
    return int(opened.episodes.support.shape[1] + opened.episodes.query.shape[1])
