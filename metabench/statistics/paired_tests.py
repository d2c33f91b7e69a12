"""Two algorithms on the same episodes: the difference of their means, paired.

Both see the same episodes, so that what is hard about an episode is hard for both and drops out
of the difference. Their seeds have nothing to do with each other.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from metabench.statistics.intervals import EpisodeScores, over_seeds, satterthwaite

_DIGITS = 1e-12  # of the largest score; smaller differences are of rounding


class Difference(NamedTuple):
    """Mean of A minus mean of B, with its symmetric t interval; NaN where it cannot be known."""

    mean: float
    lo: float
    hi: float
    se: float
    df: float
    p: float  # two-sided, of no difference

    def probability_above(self, margin: float) -> float:
        """The probability that the true difference is larger than a margin.

        That is the t distribution around the estimate, which is the posterior under a flat prior.
        """
        if not np.isfinite(self.se):
            return float("nan")
        if self.se == 0:
            return float(self.mean > margin)
        return float(stdtr(self.df, (self.mean - margin) / self.se))

    def probability_below(self, margin: float) -> float:
        """The probability that the true difference is smaller than a margin."""
        return self._replace(mean=-self.mean).probability_above(-margin)


def difference(a: EpisodeScores, b: EpisodeScores, level: float = 0.95) -> Difference:
    """The paired difference of two score tables over the same episodes.

    One seed each: the paired t interval over episodes, which speaks of these two trained
    learners. With several, the variance of the seeds' means is added, so that the interval
    speaks of the methods: with d_e the difference of the means over seeds in episode e ::

        Var = Var_e(d_e) / E + Var_s(mean of seed s of A) / S_A + the same of B

    with Satterthwaite's degrees of freedom, those of the seeds for the last two terms. What
    episodes do to a seed's mean is in both kinds of term. Taking it out again, as a component of
    variance, would leave zero where seeds happen to agree, and then equal methods are told apart
    too often (benchmarks/simulate.py). An algorithm with one seed adds nothing: it is taken as
    the one learner that it is, which is right for deterministic ones only.

    Where the difference is the same in every episode, its p-value is that of the sign test.

    Args:
        a: [S_A, E] scores.
        b: [S_B, E] scores of the same episodes.
        level: of confidence.

    References:
        Satterthwaite (1946), Biometrics Bulletin 2, 110-114; as in `stats.mean_ci`.
    """
    episodes = a.shape[1]
    one, other = over_seeds(a), over_seeds(b)
    by_episode = one - other
    mean = float(by_episode.mean()) if episodes else float("nan")
    if episodes < 2 or not np.isfinite(by_episode).all():
        nan = float("nan")
        return Difference(mean, nan, nan, nan, nan, nan)
    rounding = _DIGITS * max(np.abs(one).max(), np.abs(other).max())
    mean = 0.0 if abs(mean) <= rounding else mean
    varies = np.ptp(by_episode) > rounding
    terms = [(float(by_episode.var(ddof=1)) / episodes if varies else 0.0, episodes - 1.0)]
    terms += [between_seeds(table) for table in (a, b) if len(table) > 1]
    if all(term == 0 for term, _ in terms):
        return _without_variance(mean, episodes, level)
    variance, df = satterthwaite(terms)
    se = variance**0.5
    half = float(stdtrit(df, 0.5 + level / 2)) * se
    p = 2 * float(stdtr(df, -abs(mean) / se))
    return Difference(mean, mean - half, mean + half, se, df, p)


def _without_variance(mean: float, episodes: int, level: float) -> Difference:
    """The difference where it is the same in every episode, which few episodes do not prove."""
    df = episodes - 1.0
    if mean == 0:
        return Difference(mean, mean, mean, 0.0, df, 1.0)
    p = 2.0**-df  # of the sign test: this sign in all episodes, or the other
    if p > 1 - level:
        nan = float("nan")
        return Difference(mean, nan, nan, nan, nan, p)
    return Difference(mean, mean, mean, 0.0, df, p)


def between_seeds(table: EpisodeScores) -> tuple[float, float]:
    """The variance of the mean of [S, E] scores by that of its seeds' means, and its df.

    Zero for one seed.
    """
    seeds = len(table)
    if seeds < 2 or not np.isfinite(table).all():
        return 0.0, 1.0
    means = table.mean(axis=1)
    # Means that are equal have a variance of zero: of rounding, where it is computed.
    return float(means.var(ddof=1)) / seeds if np.ptp(means) else 0.0, seeds - 1.0


def holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values: all of them hold at once.

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
    """The tier of each row, rows sorted best first.

    The first row that is in none opens a tier and stays its anchor: those below it join, in order,
    until one differs from the anchor, where the next tier opens. A fixed anchor keeps rows apart
    that a chain of small steps would join. The differences of all pairs of rows are tested
    together, by Holm: an anchor is the best of what the data made best, so that tests against it
    alone would be of chosen pairs.

    Args:
        tables: [S, E] scores of each row, over the same episodes.
        alpha: the probability that any two equal rows are told apart.
    """
    rows = range(len(tables))
    pairs = list(combinations(rows, 2))
    tests = [_cautious_p(tables[i], tables[j]) for i, j in pairs]
    apart = {pair for pair, p in zip(pairs, holm(tests), strict=True) if p < alpha}
    found: list[int] = []
    anchor = 0
    for row in rows:
        if (anchor, row) in apart:
            anchor = row
        found.append(found[anchor] if anchor < row else max(found, default=0) + 1)
    return found


_MOST_DF = 3  # times those of the scarcer seeds


def _cautious_p(a: EpisodeScores, b: EpisodeScores) -> float:
    """The p-value of a difference, for tests of many pairs; 1 where it cannot be known.

    Holm asks about the far tail, where Satterthwaite's degrees of freedom are too many: where a
    few seeds happen to agree their variance seems to carry no weight. So they are capped.
    """
    pair = difference(a, b)
    if not pair.se > 0:
        return pair.p if np.isfinite(pair.p) else 1.0
    few = [_MOST_DF * (len(table) - 1) for table in (a, b) if len(table) > 1]
    return 2 * float(stdtr(min([pair.df, *few]), -abs(pair.mean) / pair.se))


def rank_intervals(
    tables: list[EpisodeScores], lower_is_better: bool, level: float = 0.95, draws: int = 1000
) -> list[tuple[int, int]]:
    """For each row the ranks that it has in the middle 95 % of bootstrap draws.

    Episodes are drawn anew for all rows together. Seeds are too few to be drawn from: each row
    gets an error of its own instead, from the t distribution of the mean of its seeds.

    Args:
        tables: [S, E] scores of each row, over the same episodes.
        lower_is_better: for errors.
        level: how much of the draws an interval holds.
        draws: of the bootstrap.

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
    sign = 1 if lower_is_better else -1
    # The best rank that a draw allows: ties share it.
    rounding = _DIGITS * np.abs(means).max()
    ranks = 1 + (sign * (means[:, None] - means[None]) > rounding).sum(axis=1)
    low, high = np.quantile(ranks, (0.5 - level / 2, 0.5 + level / 2), axis=1, method="nearest")
    return [(int(lo), int(hi)) for lo, hi in zip(low, high, strict=True)]


def detectable(
    tables: list[EpisodeScores], alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The difference between neighbouring rows that such a suite finds in four of five cases.

    The median over neighbours of (t_{1 - alpha/2} + t_{power}) standard errors; None of less than
    two rows.
    """
    found = []
    for neighbours in pairwise(tables):
        pair = difference(*neighbours)
        if np.isfinite(pair.se) and pair.se > 0:
            quantiles = stdtrit(pair.df, 1 - alpha / 2) + stdtrit(pair.df, power)
            found.append(float(quantiles) * pair.se)
    return float(np.median(found)) if found else None
