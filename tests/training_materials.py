"""Small, real training data for tests of the worker: handwritten digits."""

from __future__ import annotations

from metabench.cell.messages import TrainingPlan
from metabench.learner import TaskSpec
from metabench.nets.backbones import BACKBONES
from metabench.results.schema import Training
from metabench.suites.builtin_suites import SUITES
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import TrainingData

SHAPE = (1, 8, 8)


def open_digits() -> OpenSuite:
    return SUITES[0].open()


def digits_material() -> TrainingData:
    material = open_digits().material
    assert material is not None
    return material


def task(seed: int = 0, way: int = 5, shot: int = 1) -> TaskSpec:
    backbones = {backbone.name: backbone for backbone in BACKBONES}
    return TaskSpec(SHAPE, way=way, shot=shot, seed=seed, backbones=backbones)


def plan(
    updates: int | None = 20,
    tasks: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    tasks_per_step: int = 2,
    way: int = 3,
) -> TrainingPlan:
    return TrainingPlan(
        training=Training(way=way, shot=1, query=4, tasks_per_step=tasks_per_step),
        why_not="",
        updates=updates,
        tasks=tasks,
        seconds=seconds,
        training_seed=seed,
        images_per_task=15,
        validation_episodes=10,
        validation_shape=(3, 1, 5),
    )
