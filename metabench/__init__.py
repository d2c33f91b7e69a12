"""Benchmark few-shot and meta-learning algorithms on the same frozen episodes.

Everything public is here and in `metabench.testing`; the rest may change. Names are loaded when
they are first used, so `import metabench` is fast and imports no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metabench.api import run
    from metabench.data.dataset import Dataset
    from metabench.errors import DataError, MetabenchError, NotApplicable, UsageError
    from metabench.evaluation import evaluate
    from metabench.learner import (
        Algorithm,
        Backbone,
        BaseData,
        BatchedLearner,
        Defaults,
        Episodes,
        Learner,
        Support,
        TaskSpec,
        TrainingEpisodes,
    )
    from metabench.nets.inner_loop import answering_state, sgd_steps, task_losses
    from metabench.nets.per_task import per_task
    from metabench.nets.prototypes import class_means, squared_distances
    from metabench.plugins.hookspecs import hookimpl
    from metabench.suites.suite import Suite
    from metabench.tables.leaderboard_frame import leaderboard

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

__all__ = [
    "Algorithm",
    "Backbone",
    "BaseData",
    "BatchedLearner",
    "DataError",
    "Dataset",
    "Defaults",
    "Episodes",
    "Learner",
    "MetabenchError",
    "NotApplicable",
    "Suite",
    "Support",
    "TaskSpec",
    "TrainingEpisodes",
    "UsageError",
    "answering_state",
    "class_means",
    "evaluate",
    "hookimpl",
    "leaderboard",
    "per_task",
    "run",
    "sgd_steps",
    "squared_distances",
    "task_losses",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'metabench' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
