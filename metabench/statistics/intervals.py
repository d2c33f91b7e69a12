"""Means with confidence intervals; the statistical unit is the episode.

Every algorithm answers the same episodes, and every seed of an algorithm answers all of them.
Scores form a table [seeds, episodes] without replication. Both seeds and episodes are samples,
so the interval of the mean covers both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

EpisodeScores = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean with its symmetric t interval; NaN if it cannot be estimated."""

    mean: float
    lo: float
    hi: float
    se: float  # standard error of the mean
    df: float  # degrees of freedom of the t interval


class MeanSquares(NamedTuple):
    """The two-way analysis of variance of scores [S, E] without replication."""

    seeds: float  # MSA, S - 1 degrees of freedom
    episodes: float  # MSB, E - 1
    residual: float  # MSC, (S - 1)(E - 1)


def most_different(a: EpisodeScores, b: EpisodeScores, most: int = 10) -> list[int]:
    """List the episodes whose scores [E] differ, at most so many, the largest difference first."""
    order = np.argsort(-np.abs(a - b), kind="stable")[:most]
    return [int(k) for k in order if a[k] != b[k]]


def over_seeds(scores: EpisodeScores) -> EpisodeScores:
    """Return the mean [E] over seeds of scores [S, E]; if all seeds agree, exactly their score.

    All seeds of a deterministic algorithm have the same scores. Their mean may be rounded and
    differ in the last digit, and a paired test would find this difference, because nothing else
    varies.
    """
    agree = (scores == scores[0]).all(axis=0)
    means: EpisodeScores = np.where(agree, scores[0], scores.mean(axis=0))
    return means


def mean_of(scores: EpisodeScores) -> float:
    """Return the mean of scores [S, E], rounded to 12 digits; NaN for no scores.

    Two rows with the same number of correct answers thus have equal means, in any order of
    summation.
    """
    return float(f"{over_seeds(scores).mean():.12g}") if scores.size else float("nan")


def mean_ci(scores: npt.ArrayLike, level: float = 0.95) -> Estimate:
    """Return the mean score and its confidence interval.

    One seed: the t interval over episodes, which describes this one trained learner.

    Several seeds: crossed random effects, score = mean + seed + episode + residual. With the
    mean squares MSA (seeds), MSB (episodes) and MSC (residual) the components of variance are
    sigma_a^2 = max(0, (MSA - MSC) / E), sigma_b^2 = max(0, (MSB - MSC) / S) and
    sigma_c^2 = MSC, and ::

        Var(mean) = sigma_a^2 / S + sigma_b^2 / E + sigma_c^2 / (S E)
                  = (MSA + MSB - MSC) / (S E)      when nothing is truncated

    with Satterthwaite's degrees of freedom for the mean squares that remain in this sum.
    With two or three seeds that differ widely, the interval is somewhat too short, because it
    has only one or two degrees of freedom (tests/statistics/test_coverage.py measures how much).

    Args:
        scores: [S, E], every seed on the same episodes; or [E] for one seed.
        level: the confidence level.

    Returns:
        The estimate. The interval is NaN for a single episode and for scores that are not
        finite; its width is zero if all scores are equal.

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
    """Standard deviations of scores; NaN if there is only one seed, or one episode."""

    seeds: float  # of the means of seeds over infinitely many episodes
    episodes: float  # of the scores of episodes within a seed


def spreads(scores: EpisodeScores) -> Spreads:
    """Return the spreads of scores [S, E] between seeds and between episodes.

    More seeds help if the first is large compared with the second divided by the square root of E.
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
    """Return the mean squares of scores [S, E]; S and E must be at least 2."""
    n_seeds, n_episodes = scores.shape
    mean, by_seed, by_episode = scores.mean(), scores.mean(axis=1), scores.mean(axis=0)
    residual = scores - by_seed[:, None] - by_episode[None, :] + mean
    return MeanSquares(
        seeds=float(n_episodes * ((by_seed - mean) ** 2).sum() / (n_seeds - 1)),
        episodes=float(n_seeds * ((by_episode - mean) ** 2).sum() / (n_episodes - 1)),
        residual=float((residual**2).sum() / ((n_seeds - 1) * (n_episodes - 1))),
    )


def _one_seed(scores: EpisodeScores) -> tuple[float, float]:
    """Return the variance of the mean of scores [E], and its degrees of freedom."""
    return float(scores.var(ddof=1)) / len(scores), float(len(scores) - 1)


def _crossed(scores: EpisodeScores) -> tuple[float, float]:
    """Return the variance of the mean of scores [S, E], and its degrees of freedom."""
    n_seeds, n_episodes = scores.shape
    seeds, episodes, residual = mean_squares(scores)
    df_seeds, df_episodes = n_seeds - 1, n_episodes - 1
    # The sum is MSC + (MSA - MSC) + (MSB - MSC). A component truncated to zero removes its
    # bracket.
    kept = [(ms, df) for ms, df in ((seeds, df_seeds), (episodes, df_episodes)) if ms > residual]
    terms = [*kept, ((1 - len(kept)) * residual, df_seeds * df_episodes)]
    total, df = satterthwaite(terms)
    return total / (n_seeds * n_episodes), df


def satterthwaite(terms: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the sum of mean squares, given with their degrees of freedom, and its own.

    References:
        Satterthwaite (1946), Biometrics Bulletin 2, 110-114.
    """
    total = sum(term for term, _ in terms)
    # Shares are squared, because the squares of very large variances would overflow.
    return total, 1 / sum((term / total) ** 2 / df for term, df in terms)
