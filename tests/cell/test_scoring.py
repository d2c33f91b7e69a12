"""Test episodes are put to a learner batch by batch, and nothing but their scores is kept."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np

from metabench.cell.messages import Array, Batch, Outputs
from metabench.cell.scoring import score
from metabench.suites.builtin_suites import SUITES
from metabench.suites.open_suite import OpenSuite

WAY, QUERIES = 5, 75


class Constant:
    """The first class for every query."""

    def answer(self, batch: Batch) -> Outputs:
        tasks, queries = batch.query_x.numpy().shape[:2]
        logits = np.zeros((tasks, queries, WAY), np.float32)
        logits[..., 0] = 1
        return Outputs(Array.of(logits))


def peak(opened: OpenSuite, episodes: int) -> int:
    tracemalloc.start()
    try:
        found = score(Constant(), opened, episodes)
        assert found.correct == [QUERIES // WAY] * episodes
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_episodes_answered() -> None:
    opened = replace(SUITES[0], episodes=2000).open()
    assert len(opened.episodes.query) == 2000  # drawn before anything is measured
    peak(opened, 20)
    few, many = peak(opened, 200), peak(opened, 2000)
    # A number or two are kept of each; the logits of one take 1,500 bytes, its images 5,120.
    assert many - few < 1800 * 100
