"""Paired tests of algorithms that answered the same episodes.

The difficulty of an episode is the same for both algorithms and cancels in the difference. Their
seeds are independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from metabench.statistics.intervals import EpisodeScores, over_seeds, satterthwaite

_LEVEL = 0.95
_DIGITS = 1e-12  # of the largest score; smaller differences are rounding


class Difference(NamedTuple):
    """Mean of A minus mean of B, with its symmetric t interval; NaN if it cannot be estimated."""

    mean: float
    lo: float
    hi: float
    se: float
    df: float
    p: float  # two-sided, of the hypothesis of no difference

    def probability_above(self, margin: float) -> float:
        """Return the probability that the true difference is larger than a margin.

        It is computed from the t distribution around the estimate, the posterior for a flat prior.
        """
        if not np.isfinite(self.se):
            return float("nan")
        if self.se == 0:
            return float(self.mean > margin)
        return float(stdtr(self.df, (self.mean - margin) / self.se))

    def probability_below(self, margin: float) -> float:
        """Return the probability that the true difference is smaller than a margin."""
        return self._replace(mean=-self.mean).probability_above(-margin)


def difference(a: EpisodeScores, b: EpisodeScores, level: float = _LEVEL) -> Difference:
    """Return the paired difference of two score tables over the same episodes.

    One seed each: the paired t interval over episodes, which describes these two trained learners.
    With several seeds, the variance of their means is added, so that the interval describes the
    methods. With d_e the difference of the means over seeds in episode e ::

        Var = Var_e(d_e) / E + Var_s(mean of seed s of A) / S_A + the same term of B

    with Satterthwaite's degrees of freedom; the last two terms have those of the seeds. The effect
    of episodes on a seed's mean is part of both kinds of terms. Subtracting it, as a component of
    variance, would give zero if seeds happen to agree, and equal methods would be called different
    too often (benchmarks/simulate.py). An algorithm with one seed adds no term: it is treated as
    one fixed learner, which is right for deterministic algorithms only.

    If the difference is the same in every episode, its p-value is that of the sign test.

    Args:
        a: [S_A, E] scores.
        b: [S_B, E] scores of the same episodes.
        level: the confidence level.

    References:
        Satterthwaite (1946), Biometrics Bulletin 2, 110-114; as in `intervals.mean_ci`.
    """
    pair = next(_differences(_Side.of(a), [_Side.of(b)], level))
    if not pair.se > 0:
        return pair
    half = float(stdtrit(pair.df, 0.5 + level / 2)) * pair.se
    p = 2 * float(stdtr(pair.df, -abs(pair.mean) / pair.se))
    return pair._replace(lo=pair.mean - half, hi=pair.mean + half, p=p)


class _Side(NamedTuple):
    """One side of paired tests, with all that does not depend on the other one."""

    means: EpisodeScores  # [E] over seeds
    largest: float
    terms: list[tuple[float, float]]  # its variance between seeds, if there are several
    seeds: int

    @classmethod
    def of(cls, scores: EpisodeScores) -> _Side:
        means = over_seeds(scores)
        largest = float(np.abs(means).max()) if means.size else 0.0
        terms = [between_seeds(scores)] if len(scores) > 1 else []
        return cls(means, largest, terms, len(scores))


def _differences(one: _Side, others: Sequence[_Side], level: float) -> Iterator[Difference]:
    """Yield the difference of one side from each of the others.

    Means and variances are computed for all at once. Where there is a standard error, the interval
    and the p-value are left out.
    """
    episodes, nan = len(one.means), float("nan")
    with np.errstate(invalid="ignore"):  # of scores that are not finite, which are left out below
        by_episode: EpisodeScores = one.means - np.stack([other.means for other in others])
        finite = np.all(np.isfinite(by_episode), axis=1) & (episodes > 1)
        means = (by_episode.mean(axis=1) if episodes else np.full(len(others), nan)).tolist()
        ranges = np.ptp(by_episode, axis=1).tolist() if episodes > 1 else []
        variances = by_episode.var(axis=1, ddof=1).tolist() if episodes > 1 else []
    for k, other in enumerate(others):
        mean = means[k]
        if not finite[k]:
            yield Difference(mean, nan, nan, nan, nan, nan)
            continue
        rounding = _DIGITS * max(one.largest, other.largest)
        mean = 0.0 if abs(mean) <= rounding else mean
        varies = ranges[k] > rounding
        terms = [(variances[k] / episodes if varies else 0.0, episodes - 1.0)]
        terms += [*one.terms, *other.terms]
        if all(term == 0 for term, _ in terms):
            yield _without_variance(mean, episodes, level)
            continue
        variance, df = satterthwaite(terms)
        yield Difference(mean, nan, nan, variance**0.5, df, nan)


def _without_variance(mean: float, episodes: int, level: float) -> Difference:
    """Return a difference that is the same in every episode; few episodes do not prove it."""
    df = episodes - 1.0
    if mean == 0:
        return Difference(mean, mean, mean, 0.0, df, 1.0)
    p = 2.0**-df  # two-sided sign test: the same sign in all episodes
    if p > 1 - level:
        nan = float("nan")
        return Difference(mean, nan, nan, nan, nan, p)
    return Difference(mean, mean, mean, 0.0, df, p)


def between_seeds(table: EpisodeScores) -> tuple[float, float]:
    """Return the variance of the mean of scores [S, E] between seeds, and its degrees of freedom.

    The variance is zero for one seed.
    """
    seeds = len(table)
    if seeds < 2 or not np.isfinite(table).all():
        return 0.0, 1.0
    means = table.mean(axis=1)
    # The computed variance of equal means may differ from zero by rounding.
    return float(means.var(ddof=1)) / seeds if np.ptp(means) else 0.0, seeds - 1.0


def holm(p_values: list[float]) -> list[float]:
    """Return Holm's adjusted p-values, which hold for all tests together.

    References:
        Holm (1979), Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for position, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - position) * p_values[i]))
        adjusted[i] = largest
    return [float(p) for p in adjusted]


def tiers(tables: list[EpisodeScores], alpha: float = 0.05) -> list[int]:
    """Return the tier of each row, for rows sorted best first.

    The first row opens a tier and is its anchor. The rows below join the tier, in order, until one
    differs from the anchor and opens the next tier. With a fixed anchor, a chain of small steps
    cannot join rows that differ. All pairs of rows are tested together (Holm), because an anchor
    is selected by its scores: tests against anchors only would be tests of selected pairs.

    Args:
        tables: [S, E] scores of each row, over the same episodes.
        alpha: the probability that any two equal rows are called different.
    """
    apart = np.zeros((len(tables), len(tables)), dtype=bool)
    apart[np.triu_indices(len(tables), 1)] = np.array(holm(_p_values(tables))) < alpha
    found: list[int] = []
    anchor = 0
    for row in range(len(tables)):
        if apart[anchor, row]:
            anchor = row
        found.append(found[anchor] if anchor < row else max(found, default=0) + 1)
    return found


_MOST_DF = 3  # times the degrees of freedom of the side with fewer seeds


def _p_values(tables: Sequence[EpisodeScores]) -> list[float]:
    """Return the p-value of each pair of rows, in the order of `itertools.combinations`."""
    sides = [_Side.of(table) for table in tables]
    p_values: list[float] = []
    tested: list[int] = []  # their places, if there is a standard error
    statistics: list[tuple[float, float]] = []
    for row, one in enumerate(sides[:-1], start=1):
        pairs = _differences(one, sides[row:], _LEVEL)
        for other, pair in zip(sides[row:], pairs, strict=True):
            if pair.se > 0:
                tested.append(len(p_values))
                statistics.append((_cautious_df(pair, one, other), -abs(pair.mean) / pair.se))
            p_values.append(1.0 if math.isnan(pair.p) else pair.p)
    if tested:
        found = 2 * stdtr(*np.array(statistics).T)
        for place, p in zip(tested, found.tolist(), strict=True):
            p_values[place] = p
    return p_values


def _cautious_df(pair: Difference, one: _Side, other: _Side) -> float:
    """Return degrees of freedom for tests of many pairs.

    Holm's correction depends on the far tail, where Satterthwaite's degrees of freedom are too
    many: if a few seeds happen to agree, their variance seems to have no weight. So they are
    capped.
    """
    few = [_MOST_DF * (side.seeds - 1) for side in (one, other) if side.seeds > 1]
    return min([pair.df, *few])


def rank_intervals(
    tables: list[EpisodeScores], lower_is_better: bool, level: float = _LEVEL, draws: int = 1000
) -> list[tuple[int, int]]:
    """Return for each row the range of ranks in the middle 95 % of bootstrap draws.

    In each draw, episodes are resampled for all rows together. Seeds are too few to resample:
    instead, each row is shifted by a random error from the t distribution of its seeds' mean.

    Args:
        tables: [S, E] scores of each row, over the same episodes.
        lower_is_better: whether scores are errors.
        level: the share of draws in an interval.
        draws: the number of bootstrap draws.
    """
    rng = np.random.Generator(np.random.Philox(0))
    episodes = tables[0].shape[1]
    weights = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=draws) / episodes
    means = np.empty((len(tables), draws))
    for row, table in enumerate(tables):
        means[row] = weights @ over_seeds(table)
        between, df = between_seeds(table)
        if between > 0:
            means[row] += between**0.5 * rng.standard_t(df, size=draws)
    losses = means if lower_is_better else -means
    # Rows with equal means in a draw share the best of their ranks.
    rounding = _DIGITS * np.abs(means).max()
    ranks = np.empty(means.shape, dtype=np.int64)
    for draw, column in enumerate(losses.T):  # all pairs at once would take rows squared of memory
        ranks[:, draw] = 1 + np.searchsorted(np.sort(column), column - rounding)
    low, high = np.quantile(ranks, (0.5 - level / 2, 0.5 + level / 2), axis=1, method="nearest")
    return [(int(lo), int(hi)) for lo, hi in zip(low, high, strict=True)]


def detectable(
    tables: list[EpisodeScores], alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """Return the difference between neighbouring rows that is found with the given power.

    It is the median over neighbours of (t_{1 - alpha/2} + t_{power}) standard errors; None for
    fewer than two rows.
    """
    found = []
    for neighbours in pairwise(tables):
        pair = difference(*neighbours)
        if np.isfinite(pair.se) and pair.se > 0:
            quantiles = stdtrit(pair.df, 1 - alpha / 2) + stdtrit(pair.df, power)
            found.append(float(quantiles) * pair.se)
    return float(np.median(found)) if found else None
