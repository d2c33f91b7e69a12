"""Test examples that are also in training data are found."""

from __future__ import annotations

import numpy as np

from metabench.data.dataset import Dataset
from metabench.suites.seen import examples_of_episodes, seen_in_training
from metabench.suites.suite import Suite


def test_test_examples_that_equal_a_base_example_are_found() -> None:
    images = np.random.default_rng(0).integers(256, size=(120, 1, 3, 3), dtype=np.uint8)
    images[100] = images[7]
    dataset = Dataset(
        "copied",
        images,
        np.arange(12).repeat(10),
        tuple(map(str, range(12))),
        {"base": np.arange(6), "novel": np.arange(6, 12)},
    )
    opened = Suite("copied", dataset, way=2, shot=1, query=5, episodes=100).open()
    assert opened.material is not None
    assert examples_of_episodes(opened).tolist() == list(range(60, 120))
    assert seen_in_training(opened, opened.material).tolist() == [100]
