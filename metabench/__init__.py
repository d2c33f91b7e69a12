"""Benchmark few-shot and meta-learning algorithms on the same frozen episodes.

Everything public is here and in `metabench.testing`; the rest may change. Names are loaded when
they are first used, so `import metabench` is fast and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.api import run as run
    from metabench.data.dataset import Dataset as Dataset
    from metabench.errors import DataError as DataError
    from metabench.errors import MetabenchError as MetabenchError
    from metabench.errors import NotApplicable as NotApplicable
    from metabench.errors import UsageError as UsageError
    from metabench.evaluation import evaluate as evaluate
    from metabench.learner import Algorithm as Algorithm
    from metabench.learner import Backbone as Backbone
    from metabench.learner import BaseData as BaseData
    from metabench.learner import BatchedLearner as BatchedLearner
    from metabench.learner import Defaults as Defaults
    from metabench.learner import Episodes as Episodes
    from metabench.learner import Learner as Learner
    from metabench.learner import Support as Support
    from metabench.learner import TaskSpec as TaskSpec
    from metabench.learner import TrainingEpisodes as TrainingEpisodes
    from metabench.nets.inner_loop import answering_state as answering_state
    from metabench.nets.inner_loop import sgd_steps as sgd_steps
    from metabench.nets.inner_loop import task_losses as task_losses
    from metabench.nets.per_task import per_task as per_task
    from metabench.nets.prototypes import class_means as class_means
    from metabench.nets.prototypes import squared_distances as squared_distances
    from metabench.plugins.hookspecs import hookimpl as hookimpl
    from metabench.suites.suite import Suite as Suite
    from metabench.tables.leaderboard_frame import leaderboard as leaderboard

__version__ = "0.1.0"

_HOMES = {
    "metabench.tables.leaderboard_frame": ("leaderboard",),
    "metabench.api": ("run",),
    "metabench.evaluation": ("evaluate",),
    "metabench.data.dataset": ("Dataset",),
    "metabench.errors": ("DataError", "MetabenchError", "NotApplicable", "UsageError"),
    "metabench.plugins.hookspecs": ("hookimpl",),
    "metabench.learner": (
        "Algorithm",
        "Backbone",
        "BaseData",
        "BatchedLearner",
        "Defaults",
        "Episodes",
        "Learner",
        "Support",
        "TaskSpec",
        "TrainingEpisodes",
    ),
    "metabench.nets.inner_loop": ("answering_state", "sgd_steps", "task_losses"),
    "metabench.nets.per_task": ("per_task",),
    "metabench.nets.prototypes": ("class_means", "squared_distances"),
    "metabench.suites.suite": ("Suite",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'metabench' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
