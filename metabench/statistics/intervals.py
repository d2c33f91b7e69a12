"""Means with confidence intervals, where the unit is the episode.

Every algorithm sees the same episodes, and every seed of an algorithm sees all of them, so
scores form a table [seeds, episodes] without replication and both of its sides are samples:
the interval of the mean has to cover other seeds as well as other episodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

EpisodeScores = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean with its symmetric t interval; NaN where it cannot be known."""

    mean: float
    lo: float
    hi: float
    se: float  # standard error of the mean
    df: float  # degrees of freedom of the t interval


class MeanSquares(NamedTuple):
    """The two-way analysis of variance of scores [S, E], one score a cell."""

    seeds: float  # MSA, S - 1 degrees of freedom
    episodes: float  # MSB, E - 1
    residual: float  # MSC, (S - 1)(E - 1)


def over_seeds(scores: EpisodeScores) -> EpisodeScores:
    """The mean [E] over the seeds of scores [S, E]; where all seeds agree, exactly their score.

    Seeds of a deterministic algorithm are so many copies of one. Their mean, rounded, may differ
    from them in the last digit, and would be told apart from one copy: nothing else varies.
    """
    agree = (scores == scores[0]).all(axis=0)
    means: EpisodeScores = np.where(agree, scores[0], scores.mean(axis=0))
    return means


def mean_of(scores: EpisodeScores) -> float:
    """The mean of scores [S, E] to 12 digits; NaN of none.

    Two rows with equally many right answers have equal means, in whichever order these are summed.
    """
    return float(f"{over_seeds(scores).mean():.12g}") if scores.size else float("nan")


def mean_ci(scores: npt.ArrayLike, level: float = 0.95) -> Estimate:
    """The mean score and its confidence interval.

    One seed: the t interval over episodes, which speaks of that one trained learner.

    Several seeds: crossed random effects, score = mean + seed + episode + residual. With the
    mean squares MSA (seeds), MSB (episodes) and MSC (residual) the components of variance are
    sigma_a^2 = max(0, (MSA - MSC) / E), sigma_b^2 = max(0, (MSB - MSC) / S) and
    sigma_c^2 = MSC, and ::

        Var(mean) = sigma_a^2 / S + sigma_b^2 / E + sigma_c^2 / (S E)
                  = (MSA + MSB - MSC) / (S E)      when nothing is truncated

    with Satterthwaite's degrees of freedom for the mean squares that are left in that sum.
    With two or three seeds of which each is much off the others the interval is somewhat too
    short, since one or two degrees of freedom carry it (tests/analysis/test_coverage.py
    measures how much).

    Args:
        scores: [S, E], every seed on the same episodes; or [E] for one seed.
        level: of confidence.

    Returns:
        The estimate. The interval is NaN for a single episode and for scores that are not
        finite; its width is zero where all scores are equal.

    References:
        Searle, Casella & McCulloch (1992), Variance Components, chapter 4 (balanced data);
        Brennan (2001), Generalizability Theory, chapter 2 (the variance of a mean over
        crossed samples); Satterthwaite (1946), Biometrics Bulletin 2, 110-114.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    n_seeds, n_episodes = table.shape
    mean = float(over_seeds(table).mean()) if table.size else float("nan")
    if n_episodes < 2 or not np.isfinite(table).all():
        nan = float("nan")
        return Estimate(mean, nan, nan, nan, nan)
    if np.ptp(table) == 0:
        return Estimate(mean, mean, mean, 0.0, float(max(1, n_seeds - 1) * (n_episodes - 1)))
    variance, df = _one_seed(table[0]) if n_seeds == 1 else _crossed(table)
    half = float(stdtrit(df, 0.5 + level / 2)) * variance**0.5  # quantile of Student's t
    return Estimate(mean, mean - half, mean + half, variance**0.5, df)


class Spreads(NamedTuple):
    """Standard deviations of scores; NaN where there is nothing to compare."""

    seeds: float  # of the means of seeds over endlessly many episodes
    episodes: float  # of the scores of episodes, the mean over seeds of each seed's


def spreads(scores: EpisodeScores) -> Spreads:
    """How much scores [S, E] vary between seeds and between episodes.

    More seeds help where the first is large against the second over the square root of E.
    """
    n_seeds, n_episodes = scores.shape
    seeds = episodes = float("nan")
    if n_episodes > 1 and n_seeds and np.isfinite(scores).all():
        episodes = float(scores.var(axis=1, ddof=1).mean() ** 0.5)
        if n_seeds > 1:
            squares = mean_squares(scores)
            seeds = max(0.0, (squares.seeds - squares.residual) / n_episodes) ** 0.5
    return Spreads(seeds, episodes)


def mean_squares(scores: EpisodeScores) -> MeanSquares:
    """The mean squares of scores [S, E], S and E at least 2."""
    n_seeds, n_episodes = scores.shape
    mean, by_seed, by_episode = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    residual = scores - by_seed[:, None] - by_episode[None, :] + mean
    return MeanSquares(
        seeds=float(n_episodes * ((by_seed - mean) ** 2).sum() / (n_seeds - 1)),
        episodes=float(n_seeds * ((by_episode - mean) ** 2).sum() / (n_episodes - 1)),
        residual=float((residual**2).sum() / ((n_seeds - 1) * (n_episodes - 1))),
    )


def _one_seed(scores: EpisodeScores) -> tuple[float, float]:
    """Variance of the mean of [E] scores, and its degrees of freedom."""
    return float(scores.var(ddof=1)) / len(scores), float(len(scores) - 1)


def _crossed(scores: EpisodeScores) -> tuple[float, float]:
    """Variance of the mean of [S, E] scores, and its degrees of freedom."""
    n_seeds, n_episodes = scores.shape
    seeds, episodes, residual = mean_squares(scores)
    df_seeds, df_episodes = n_seeds - 1, n_episodes - 1
    # A component truncated to zero takes its mean square out of the sum, and the two signs of
    # the residual's with it: MSC + (MSA - MSC) + (MSB - MSC).
    kept = [(ms, df) for ms, df in ((seeds, df_seeds), (episodes, df_episodes)) if ms > residual]
    terms = [*kept, ((1 - len(kept)) * residual, df_seeds * df_episodes)]
    total, df = satterthwaite(terms)
    return total / (n_seeds * n_episodes), df


def satterthwaite(terms: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """A sum of mean squares, given with their degrees of freedom, and the sum's own.

    References:
        Satterthwaite (1946), Biometrics Bulletin 2, 110-114.
    """
    total = sum(term for term, _ in terms)
    # Shares, because the squares of large errors' variances would overflow.
    return total, 1 / sum((term / total) ** 2 / df for term, df in terms)
