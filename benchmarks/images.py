"""A suite over random images, as large as Omniglot's, for work that needs a dataset."""

from __future__ import annotations

import numpy as np

from benchmarks.setting import SEED
from metabench.data.dataset import Dataset, pixels_digest
from metabench.suites.open_suite import OpenSuite
from metabench.suites.suite import Suite

IMAGES = 20  # of each class
WAY, QUERY = 5, 15


def random_suite(split: str, classes: int, shot: int, episodes: int, side: int = 28) -> OpenSuite:
    """Return a suite of 5-way episodes with 15 queries per class.

    Args:
        split: the split of all classes: "base" or "novel".
        classes: number of classes.
        shot: support images per class.
        episodes: number of test episodes.
        side: height and width of the images, in pixels.
    """
    rng = np.random.default_rng(SEED)
    kinds = rng.integers(0, 128, (classes, 1, 1, side, side), dtype=np.uint8)
    images = kinds + rng.integers(0, 128, (classes, IMAGES, 1, side, side), dtype=np.uint8)
    images = images.reshape(-1, 1, side, side)
    dataset = Dataset(
        name="random",
        images=images,
        labels=np.arange(classes).repeat(IMAGES),
        classes=tuple(map(str, range(classes))),
        splits={split: np.arange(classes)},
        pixels=pixels_digest(images),
    )
    suite = Suite("random", dataset, WAY, shot, QUERY, episodes)
    return OpenSuite(suite, dataset)
