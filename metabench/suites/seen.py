"""Test examples that are also in training data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from metabench.data.dataset import Examples, Indices, Targets
from metabench.suites.open_suite import OpenSuite
from metabench.suites.training_data import TrainingData

_AT_ONCE = 4096  # training examples that are compared at once


def examples_of_episodes(opened: OpenSuite) -> Indices:
    """Return the indices of the examples in a suite's test episodes, each once."""
    manifest = opened.episodes
    members: Indices = np.unique(np.concatenate([manifest.support.ravel(), manifest.query.ravel()]))
    return members


def seen_in_training(opened: OpenSuite, material: TrainingData) -> Indices:
    """Return the indices of the test examples of a suite that equal a training example."""
    members, dataset = examples_of_episodes(opened), opened.dataset
    tested = _rows(dataset.images[members], dataset.targets, members)
    hashes = np.unique(_hashes(tested))
    seen: set[bytes] = set()
    for start in range(0, len(material.images), _AT_ONCE):
        some = np.arange(start, min(start + _AT_ONCE, len(material.images)))
        rows = _rows(material.images[some], material.targets, some)
        own = _hashes(rows)
        nearest = hashes[np.searchsorted(hashes, own).clip(max=len(hashes) - 1)]
        seen.update(row.tobytes() for row in rows[nearest == own])
    return members[[row.tobytes() in seen for row in tested]]


def _rows(examples: Examples, targets: Targets | None, members: Indices) -> npt.NDArray[np.uint8]:
    """Return the bytes of examples [N, B], each with its target if it has one."""
    parts = [examples] if targets is None else [examples, targets[members]]
    return np.hstack(
        [np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8) for part in parts]
    )


def _hashes(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Return a number for each row; equal rows have equal numbers."""
    weights = np.random.default_rng(0).integers(2**64, size=rows.shape[1], dtype=np.uint64)
    found: npt.NDArray[np.uint64] = rows @ weights
    return found
