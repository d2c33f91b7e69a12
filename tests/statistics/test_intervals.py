"""The interval of a mean equals its closed forms and those of statsmodels."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from metabench.statistics.intervals import mean_ci, mean_squares, most_different


def crossed_scores(seeds, episodes, of_seed, of_episode, noise, seed=0):
    """Return scores [S, E] with standard deviations of seeds, episodes and residuals."""
    rng = np.random.default_rng(seed)
    return (
        0.8
        + of_seed * rng.standard_normal((seeds, 1))
        + of_episode * rng.standard_normal((1, episodes))
        + noise * rng.standard_normal((seeds, episodes))
    )


def long_frame(scores):
    seeds, episodes = np.indices(scores.shape)
    return pd.DataFrame(
        {"score": scores.ravel(), "seed": seeds.ravel(), "episode": episodes.ravel()}
    )


@pytest.mark.parametrize("level", [0.90, 0.95, 0.99])
def test_one_seed_gives_the_t_interval_over_episodes(level):
    scores = crossed_scores(1, 60, 0.0, 0.1, 0.05)[0]
    estimate = mean_ci(scores, level)
    lo, hi = DescrStatsW(scores).tconfint_mean(alpha=1 - level)
    assert (estimate.lo, estimate.hi) == pytest.approx((lo, hi), abs=1e-12)
    assert estimate.mean == pytest.approx(scores.mean())
    assert estimate.se == pytest.approx(scores.std(ddof=1) / math.sqrt(60))
    assert estimate.df == 59


def test_one_seed_may_be_a_vector_or_one_row():
    scores = crossed_scores(1, 20, 0.0, 0.1, 0.05)
    assert mean_ci(scores) == mean_ci(scores[0])


def test_mean_squares_are_those_of_the_two_way_analysis_of_variance():
    scores = crossed_scores(4, 12, 0.05, 0.1, 0.03)
    model = smf.ols("score ~ C(seed) + C(episode)", long_frame(scores)).fit()
    table = sm.stats.anova_lm(model)
    expected = [table["mean_sq"][row] for row in ("C(seed)", "C(episode)", "Residual")]
    assert mean_squares(scores) == pytest.approx(expected)


def test_several_seeds_give_the_standard_error_of_the_crossed_mixed_model():
    # In balanced data restricted likelihood and analysis of variance agree where no component
    # is negative.
    scores = crossed_scores(5, 12, 0.08, 0.1, 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its optimiser warns often
        model = smf.mixedlm(
            "score ~ 1",
            long_frame(scores),
            groups=np.ones(scores.size),
            vc_formula={"seed": "0 + C(seed)", "episode": "0 + C(episode)"},
        ).fit(reml=True)
    estimate = mean_ci(scores)
    assert estimate.mean == pytest.approx(model.params["Intercept"], abs=1e-6)
    assert estimate.se == pytest.approx(model.bse["Intercept"], rel=1e-3)


def test_without_truncation_the_closed_form_holds():
    scores = crossed_scores(4, 30, 0.05, 0.1, 0.03)
    a, b, c = mean_squares(scores)
    assert min(a, b) > c
    total = a + b - c
    df = total**2 / (a**2 / 3 + b**2 / 29 + c**2 / 87)
    half = stats.t.ppf(0.975, df) * math.sqrt(total / 120)
    estimate = mean_ci(scores)
    assert estimate.df == pytest.approx(df)
    assert (estimate.lo, estimate.hi) == pytest.approx((scores.mean() - half, scores.mean() + half))


def test_no_seed_variance_leaves_the_t_interval_over_episode_means():
    # Seeds that differ by less than the residual: their component is truncated to zero.
    scores = crossed_scores(3, 40, 0.0, 0.1, 0.05, seed=1)
    scores = scores - scores.mean(axis=1, keepdims=True) + 0.8
    lo, hi = DescrStatsW(scores.mean(axis=0)).tconfint_mean()
    estimate = mean_ci(scores)
    assert (estimate.lo, estimate.hi) == pytest.approx((lo, hi))
    assert estimate.df == pytest.approx(39)


def test_no_episode_variance_leaves_the_t_interval_over_seed_means():
    scores = crossed_scores(5, 40, 0.1, 0.0, 0.05, seed=1)
    scores = scores - scores.mean(axis=0, keepdims=True) + 0.8
    scores = scores + np.array([[-0.1], [0.05], [0.0], [0.02], [0.1]])
    lo, hi = DescrStatsW(scores.mean(axis=1)).tconfint_mean()
    estimate = mean_ci(scores)
    assert (estimate.lo, estimate.hi) == pytest.approx((lo, hi))
    assert estimate.df == pytest.approx(4)


def test_neither_variance_leaves_the_residual_alone():
    noise = crossed_scores(3, 20, 0.0, 0.0, 0.05)
    noise -= noise.mean(axis=1, keepdims=True)
    noise -= noise.mean(axis=0, keepdims=True)
    estimate = mean_ci(noise)
    assert estimate.df == pytest.approx(2 * 19)
    assert estimate.se == pytest.approx(math.sqrt(mean_squares(noise).residual / 60))


def test_seeds_that_agree_exactly_add_nothing_to_one_seed():
    scores = crossed_scores(1, 25, 0.0, 0.1, 0.05)
    assert mean_ci(np.repeat(scores, 3, axis=0)) == pytest.approx(mean_ci(scores))


@pytest.mark.parametrize("shape", [(1, 10), (3, 10), (2, 2)])
def test_equal_scores_have_an_interval_without_width(shape):
    estimate = mean_ci(np.full(shape, 0.8))
    assert estimate.lo == estimate.mean == estimate.hi
    assert estimate.mean == pytest.approx(0.8)
    assert estimate.se == 0.0


@pytest.mark.parametrize("scores", [[[0.5]], [[0.5], [0.7]], [[0.5, np.nan]], [[0.5, np.inf]]])
def test_one_episode_or_a_score_that_is_not_finite_has_no_interval(scores):
    estimate = mean_ci(scores)
    assert all(math.isnan(value) for value in estimate[1:])


def test_one_episode_still_has_a_mean():
    assert mean_ci([[0.5], [0.7]]).mean == pytest.approx(0.6)


def test_no_episode_has_neither_mean_nor_interval():
    assert all(math.isnan(value) for value in mean_ci(np.empty((1, 0))))


def test_the_interval_moves_and_scales_with_the_scores():
    scores = crossed_scores(3, 20, 0.05, 0.1, 0.03)
    estimate, moved = mean_ci(scores), mean_ci(100 * scores - 7)
    assert moved[:3] == pytest.approx([100 * value - 7 for value in estimate[:3]])
    assert moved.df == pytest.approx(estimate.df)


def test_the_episodes_that_differ_most_come_first() -> None:
    a, b = np.array([0.0, 1.0, 0.5, 0.5]), np.array([0.5, 0.0, 0.5, 0.0])
    assert most_different(a, b) == [1, 0, 3]
    assert most_different(a, b, most=1) == [1]
