"""The shape of a cell's training and validation episodes."""

from __future__ import annotations

import numpy as np

from metabench.cell.cell import Cell
from metabench.errors import DataError, UsageError
from metabench.results import schema
from metabench.suites.episode_draw import Pool
from metabench.suites.training_data import TrainingData


def training_shape(cell: Cell, material: TrainingData) -> schema.Training:
    """Return the shape of a cell's training episodes.

    Way and queries that the algorithm or the suite suggests are cut to what the base data
    has; those that the user asked for are not. A few small classes are left out rather than
    allowed to cut the queries of every episode.

    Raises:
        DataError: base classes have too few images, or there are too few classes.
        UsageError: a regression task would have more than one function.
    """
    asked, base, chosen = cell.configured.training, material.base, cell.configured.chosen
    shot = asked.shot or cell.suite.shot
    way, wanted = asked.way or cell.suite.way, asked.query or cell.suite.query
    pool = _usable(base, way if "train_way" in chosen else cell.suite.way, shot, wanted)
    query = wanted
    if "train_way" not in chosen:
        way = min(way, _fewest_classes(pool))
    if "train_query" not in chosen:
        query = min(wanted, max(int(pool.spare(shot).min()), 1))
    if cell.kind == "regression" and "train_way" not in chosen:
        way = 1
    if cell.kind == "regression" and way != 1:
        raise UsageError(f"train_way={way}: a regression task is one function, train_way=1")
    try:
        pool.check(way, shot, query, "training episodes")
    except DataError as error:
        raise DataError(
            f"{error}; ask for others with train_way, train_shot, train_query"
        ) from None
    used = {*pool.names}
    return schema.Training(
        way=way,
        shot=shot,
        query=query,
        tasks_per_step=asked.tasks_per_step,
        asked_query=None if query == wanted else wanted,
        left_out=[name for name in base.names if name not in used],
    )


def validation_shape(cell: Cell, material: TrainingData) -> tuple[int, int, int] | None:
    """Return way, shot and queries of validation episodes.

    They are the suite's, with small classes left out and queries cut as in training episodes. None
    if the validation classes or their images are too few for the suite's way and shot, which the
    learner is built for: then the last state is kept.
    """
    suite = cell.suite
    if material.validation is None:
        return None
    pool = _usable(material.validation, suite.way, suite.shot, suite.query)
    spare = int(pool.spare(suite.shot).min())
    if _fewest_classes(pool) < suite.way or spare < 1:
        return None
    return suite.way, suite.shot, min(suite.query, spare)


def _usable(pool: Pool, way: int, shot: int, query: int) -> Pool:
    """Return the pool without classes that are small compared with the others.

    If most classes have images for the queries, those that do not are left out. Otherwise queries
    must be cut, and classes with less than half of the median number of images for queries are left
    out. None is left out if that would leave a group with fewer than `way` classes.
    """
    spare = np.sort(pool.spare(shot))
    median = int(spare[len(spare) // 2])
    usable = pool.large_enough(shot, query if median >= query else max(median // 2, 1))
    return usable if _fewest_classes(usable) >= min(way, _fewest_classes(pool)) else pool


def _fewest_classes(pool: Pool) -> int:
    """Count the classes in the smallest group."""
    return min(len(group) for group in pool.groups)
