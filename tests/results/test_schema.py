"""A result: its scores and its status."""

from __future__ import annotations

from typing import get_args

import numpy as np
from results_factory import make_result, make_suite

from metabench.results.schema import FAILED, Status

REGRESSION = make_suite("sinusoid-5s", way=1, metric="mse")


def test_scores_per_episode_are_fractions_or_squared_errors() -> None:
    suite = make_suite(query=3, episodes=3)  # 15 queries an episode
    accuracy = make_result(suite=suite, correct=[0, 6, 15]).per_episode()
    assert np.array_equal(accuracy, [0.0, 0.4, 1.0])
    errors = make_result(suite=REGRESSION, error=[0.5, 2.0]).per_episode()
    assert np.array_equal(errors, [0.5, 2.0])
    assert len(make_result(status="timeout").per_episode()) == 0


def test_an_algorithm_that_does_not_apply_has_not_failed() -> None:
    assert set(get_args(Status)) - FAILED == {"ok", "not_applicable", "interrupted"}
