"""Verdicts of single looks; their error rates are simulated in tests/test_simulations.py."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from metabench.statistics.non_inferiority import ALPHA, LOOKS, fewest_episodes, judge


def gains(mean: float, sd: float = 0.05, episodes: int = 600) -> np.ndarray:
    """Return gains [1, E] with exactly this mean and standard deviation."""
    values = np.random.default_rng(0).standard_normal(episodes)
    return (mean + sd * (values - values.mean()) / values.std(ddof=1))[None]


def test_the_interval_is_that_of_the_paired_t_test_at_the_look_s_share_of_alpha() -> None:
    values = gains(0.001)
    seen = judge(values, 0.005, look=0, looks=LOOKS)
    reference = stats.ttest_1samp(values[0], 0).confidence_interval(1 - 2 * ALPHA / LOOKS)
    assert (seen.lo, seen.hi) == pytest.approx((reference.low, reference.high))
    assert seen.gain == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("mean", "look", "verdict"),
    [
        (0.0, 0, "pass"),  # half the interval is 0.0044
        (0.01, 0, "pass"),
        (-0.001, 0, "inconclusive"),
        (-0.001, 2, "inconclusive"),
        (-0.0093, 0, "inconclusive"),
        (-0.0095, 0, "fail"),  # all of the interval is below the margin
        (-0.005, 0, "inconclusive"),
        (-0.005, 2, "fail"),  # at the last look a proven loss is enough
    ],
)
def test_verdicts(mean: float, look: int, verdict: str) -> None:
    assert judge(gains(mean), 0.005, look, LOOKS).verdict == verdict


def test_a_proven_loss_within_the_margin_passes() -> None:
    seen = judge(gains(-0.002, sd=0.01), 0.005, look=0, looks=LOOKS)
    assert seen.hi < 0
    assert seen.verdict == "pass"


@pytest.mark.parametrize(
    ("margin", "episodes", "verdict"),
    [
        (0.005, 299, "inconclusive"),
        (0.005, 300, "pass"),
        (0.02, 74, "inconclusive"),
        (0.02, 75, "pass"),
        (0.0, 10_000, "inconclusive"),
    ],
)
def test_a_pass_needs_a_minimum_number_of_episodes(
    margin: float, episodes: int, verdict: str
) -> None:
    assert judge(np.zeros((1, episodes)), margin, 0, LOOKS).verdict == verdict
    assert judge(np.zeros((1, episodes)), margin / 2, 0, LOOKS, worst=0.5).verdict == verdict


def test_the_number_of_episodes_is_that_of_the_rule_of_three() -> None:
    """With so many episodes, a loss of twice the margin is not observed in 5 % of cases."""
    n = fewest_episodes(0.005, worst=0.8)
    assert (1 - 2 * 0.005 / 0.8) ** n == pytest.approx(0.05, rel=0.05)


def test_seeds_that_differ_make_it_inconclusive() -> None:
    table = gains(0.0, sd=0.02) + np.array([[-0.03], [0.0], [0.03]])
    assert judge(table, 0.005, 0, LOOKS).verdict == "inconclusive"
    assert judge(table.mean(axis=0, keepdims=True), 0.005, 0, LOOKS).verdict == "pass"


def test_a_single_episode_is_inconclusive() -> None:
    assert judge(np.array([[-1.0]]), 0.005, 2, LOOKS).verdict == "inconclusive"
