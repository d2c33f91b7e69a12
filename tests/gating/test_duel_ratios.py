"""Ratios of a duel: paired by round, geometric, with an interval over rounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metabench.cell.messages import Measured
from metabench.gating.duel_ratios import phase_ratios
from metabench.gating.duel_rounds import Side
from metabench.results.schema import Timing


def side(adapt: float, predict: float = 1.0, many: float = 1.0, training: float | None = None):
    """Return the measurements of one learner in a round of two turns."""
    turns = [
        Measured(
            Timing(
                cold_s=9.0,
                adapt_s=[adapt, adapt, 100 * adapt],
                predict_s=[predict],
                throughput_s=[10 * many],
                throughput_episodes=10,
            ),
            adapt_memory=None,
            predict_memory=None,
        )
        for _ in range(2)
    ]
    return Side(training, turns)


def phases(rounds):
    return {found.phase: found for found in phase_ratios(rounds)}


def test_the_ratio_is_that_of_the_medians_of_each_round() -> None:
    found = phases([(side(2.0), side(1.0)), (side(8.0), side(2.0))])["adapt"]
    assert found.ratios == [2.0, 4.0]
    assert found.ratio == pytest.approx(8**0.5)
    assert (found.a_s, found.b_s) == (5.0, 1.5)


def test_the_interval_is_students_t_over_logarithms() -> None:
    ratios = [1.1, 0.9, 1.3, 1.05]
    found = phases([(side(ratio), side(1.0)) for ratio in ratios])["adapt"]
    logs = np.log(ratios)
    low, high = stats.t.interval(0.95, 3, logs.mean(), stats.sem(logs))
    assert found.ci95 == pytest.approx((np.exp(low), np.exp(high)))


def test_what_slows_a_round_slows_both_and_cancels() -> None:
    rounds = [(side(3.0 * slow), side(1.0 * slow)) for slow in (1.0, 2.0, 5.0)]
    found = phases(rounds)["adapt"]
    assert found.ci95 == pytest.approx((3.0, 3.0))


def test_many_episodes_are_counted_one_by_one() -> None:
    found = phases([(side(1, many=4.0), side(1, many=2.0))] * 2)["episode, many at a time"]
    assert (found.a_s, found.b_s, found.ratio) == (4.0, 2.0, 2.0)


def test_a_phase_that_one_side_lacks_has_no_ratio() -> None:
    found = phases([(side(1, training=5.0), side(1))] * 2)["meta-training"]
    assert (found.a_s, found.b_s, found.ratio, found.ci95) == (5.0, None, None, None)


def test_intervals_of_equal_learners_contain_one_as_often_as_they_claim() -> None:
    rng = np.random.default_rng(0)
    contained = 0
    for _ in range(400):
        drift = np.exp(rng.normal(0, 0.5, 6))  # the machine, alike for both
        own = np.exp(rng.normal(0, 0.05, (6, 2)))  # each process its own
        times = drift[:, None] * own
        found = phases([(side(a), side(b)) for a, b in times])["adapt"]
        assert found.ci95 is not None
        contained += found.ci95[0] <= 1 <= found.ci95[1]
    assert 0.92 <= contained / 400 <= 0.98
