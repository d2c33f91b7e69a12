"""Scores of each episode, computed from a learner's outputs.

E is the number of episodes, Q the number of queries of one episode (all classes together).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

NO_CLASS = -1  # the prediction of a query whose logits are not all finite: always wrong


def predicted_classes(logits: npt.ArrayLike) -> Ids:
    """Return the class with the largest logit; ties go to the lowest id.

    Args:
        logits: [..., Q, way].

    Returns:
        [..., Q] int64 in 0..way-1, or `NO_CLASS` where any logit is NaN or infinite.
    """
    values = np.asarray(logits)
    usable = np.isfinite(values).all(axis=-1)
    classes: Ids = np.where(usable, values.argmax(axis=-1), NO_CLASS).astype(np.int64)
    return classes


def correct_counts(predicted: npt.ArrayLike, truth: npt.ArrayLike) -> Ids:
    """Count the right answers of each episode: predicted and truth [E, Q] -> [E] int64."""
    right: Ids = (np.asarray(predicted) == np.asarray(truth)).sum(axis=-1, dtype=np.int64)
    return right


def macro_f1(predicted: npt.ArrayLike, truth: npt.ArrayLike, way: int) -> npt.NDArray[np.float64]:
    """Return the macro-averaged F1 of each episode.

    It is the mean over the `way` classes of F1 = 2 TP / (predicted + present), which is 0 for a
    class that is neither predicted nor present, as in scikit-learn's `f1_score` with
    `labels=range(way), average="macro", zero_division=0`.

    Args:
        predicted: [E, Q] ids in 0..way-1, or `NO_CLASS`.
        truth: [E, Q] ids in 0..way-1.
        way: number of classes.

    Returns:
        [E] float64 in [0, 1].
    """
    predicted_ids, true_ids = np.asarray(predicted), np.asarray(truth)
    hits = _class_counts(np.where(predicted_ids == true_ids, true_ids, NO_CLASS), way)
    total = _class_counts(predicted_ids, way) + _class_counts(true_ids, way)
    f1: npt.NDArray[np.float64] = (2 * hits / np.maximum(total, 1)).mean(axis=-1)
    return f1


def squared_errors(values: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the mean squared error of each episode: values, truth [E, Q, 1] -> [E] float64.

    Raises:
        ValueError: they have different shapes.
    """
    if np.shape(values) != np.shape(truth):  # subtraction would broadcast
        raise ValueError(f"values {np.shape(values)}, truth {np.shape(truth)}")
    difference = np.asarray(values, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    errors: npt.NDArray[np.float64] = np.square(difference).mean(axis=(1, 2))
    return errors


def _class_counts(ids: Ids, way: int) -> Ids:
    """Count each class in each episode: [E, Q] -> [E, way]."""
    episodes = len(ids)
    # One extra slot for NO_CLASS, dropped at the end.
    slots = np.where(ids == NO_CLASS, way, ids) + (way + 1) * np.arange(episodes)[:, None]
    counts = np.bincount(slots.ravel(), minlength=episodes * (way + 1))
    return counts.reshape(episodes, way + 1)[:, :way]
