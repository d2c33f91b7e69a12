"""Paired differences, tiers and rank intervals, compared with libraries and closed forms."""

from __future__ import annotations

import tracemalloc
from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from metabench.statistics.intervals import mean_ci
from metabench.statistics.paired_tests import (
    _p_values,
    detectable,
    difference,
    holm,
    rank_intervals,
    tiers,
)


def table(rng, mean, seeds=3, episodes=200, hard=None, sd_seed=0.0, sd=0.05):
    """Return scores [S, E]: a mean plus difficulty per episode, an effect per seed, and noise."""
    hard = np.zeros(episodes) if hard is None else hard
    own = rng.normal(0, sd_seed, (seeds, 1)) if sd_seed else 0.0
    return mean + hard + own + rng.normal(0, sd, (seeds, episodes))


def test_one_seed_each_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((1, 50)), rng.random((1, 50))
    found, known = difference(a, b), stats.ttest_rel(a[0], b[0])
    low, high = known.confidence_interval()
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.lo, found.hi) == pytest.approx((low, high))
    assert found.p == pytest.approx(known.pvalue)
    assert found.df == pytest.approx(49)


def test_the_difficulty_of_episodes_cancels() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 0.2, 200)
    a, b = table(rng, 0.8, 1, hard=hard), table(rng, 0.78, 1, hard=hard)
    unpaired = (a.var(ddof=1) / 200 + b.var(ddof=1) / 200) ** 0.5
    assert difference(a, b).se < 0.4 * unpaired


def test_several_seeds_add_their_variance() -> None:
    a = np.array([[0.9, 0.7], [0.5, 0.3]])  # seeds 0.4 apart, no noise
    b = np.array([[0.2, 0.0]])
    found = difference(a, b)
    # The difference is 0.5 in both episodes; only the seeds of A vary: variance 0.08 / 2.
    assert found.mean == pytest.approx(0.5)
    assert found.se == pytest.approx(0.04**0.5)
    assert found.df == pytest.approx(1)


@pytest.mark.parametrize(("seeds", "sd_seed"), [(1, 0.0), (3, 0.02), (5, 0.02), (5, 0.0)])
def test_equal_algorithms_are_called_different_as_rarely_as_claimed(
    seeds: int, sd_seed: float
) -> None:
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(600):
        hard = rng.normal(0, 0.1, 60)
        pair = (table(rng, 0.7, seeds, 60, hard, sd_seed) for _ in range(2))
        rejected += difference(*pair).p < 0.05
    assert rejected / 600 < 0.08


def test_unknown_values_are_nan_and_equal_scores_differ_by_zero() -> None:
    one = difference(np.ones((1, 1)), np.zeros((1, 1)))
    assert one.mean == 1
    assert np.isnan([one.lo, one.p, one.probability_above(0)]).all()
    assert np.isnan(difference(np.full((1, 3), np.inf), np.ones((1, 3))).p)
    same = difference(np.ones((2, 5)), np.ones((3, 5)))
    assert (same.mean, same.lo, same.hi, same.p) == (0, 0, 0, 1)


def test_a_constant_difference_is_proven_by_many_episodes_only() -> None:
    """By the sign test, two episodes with the same sign prove no more than two coin flips."""
    few, more = (difference(np.ones((1, n)), np.zeros((1, n))) for n in (2, 8))
    assert (few.mean, few.p) == (1, 0.5)
    assert np.isnan([few.lo, few.hi, few.probability_above(0)]).all()
    assert (more.lo, more.hi, more.p, more.probability_above(0)) == (1, 1, 2**-7, 1)
    assert tiers([np.ones((1, 2)), np.zeros((1, 2))]) == [1, 1]
    assert tiers([np.ones((1, 8)), np.zeros((1, 8))]) == [1, 2]


def test_rounding_is_no_difference() -> None:
    rng = np.random.default_rng(5)
    one = rng.integers(0, 76, (1, 100)) / 75
    other = rng.permuted(one, axis=1)  # summed in another order
    assert difference(one, other).mean == 0
    constant = difference(one, one - 0.2)
    assert constant.se == 0
    assert detectable([one, one - 0.2]) is None
    equal = [one, rng.permuted(one, axis=1), one.copy()]
    assert rank_intervals(equal[::2], lower_is_better=False) == [(1, 1), (1, 1)]


@pytest.mark.parametrize("seeds", range(2, 12))
def test_copies_of_one_seed_give_the_result_of_that_seed(seeds: int) -> None:
    rng = np.random.default_rng(11)
    for _ in range(20):
        one = rng.integers(0, 76, (1, 400)) / 75
        copies = one.repeat(seeds, axis=0)
        found = difference(one, copies)
        assert (found.mean, found.se, found.p) == (0, 0, 1)
        assert tiers([one, copies]) == [1, 1]
        assert rank_intervals([copies, one], lower_is_better=False, draws=50) == [(1, 1)] * 2
        assert mean_ci(copies).mean == mean_ci(one).mean


def test_errors_may_be_as_large_as_float32_allows() -> None:
    large = np.array([[1e76, 9e76, 3e76], [2e76, 8e76, 4e76]])
    found, small = (difference(table, table[:1] / 2) for table in (large, large / 1e76))
    assert found.p == pytest.approx(small.p)
    assert found.se == pytest.approx(1e76 * small.se)
    assert mean_ci(large).df == pytest.approx(mean_ci(large / 1e76).df)


def test_probabilities_are_those_of_the_t_distribution() -> None:
    rng = np.random.default_rng(3)
    found = difference(table(rng, 0.8, 1), table(rng, 0.79, 1))
    t = stats.t(found.df, found.mean, found.se)
    assert found.probability_above(0.005) == pytest.approx(t.sf(0.005))
    assert found.probability_above(-1) == pytest.approx(1)


def test_holm_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(4)
    for n in (1, 2, 7):
        p = rng.random(n) ** 3
        assert holm(list(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_a_tier_holds_the_rows_that_do_not_differ_from_its_first() -> None:
    rng = np.random.default_rng(5)
    hard = rng.normal(0, 0.1, 400)
    means = [0.90, 0.899, 0.80, 0.799, 0.798, 0.5]
    rows = [table(rng, mean, 1, 400, hard) for mean in means]
    rows.sort(key=lambda scores: -scores.mean())
    assert tiers(rows) == [1, 1, 2, 2, 2, 3]


def test_a_chain_of_small_steps_is_cut_where_the_first_row_differs() -> None:
    rng = np.random.default_rng(6)
    noise = rng.normal(0, 0.02, (7, 1, 400))
    rows = [0.8 - 0.0012 * k + noise[k] - noise[k].mean() for k in range(7)]
    neighbours = [difference(a, b).p for a, b in pairwise(rows)]
    assert min(neighbours) > 0.05  # no step is significant
    found = tiers(rows)
    assert found == sorted(found)
    assert max(found) > 1


def test_rows_tested_together_have_the_p_values_of_single_tests() -> None:
    rng = np.random.default_rng(8)
    rows = [rng.binomial(75, 0.5 + 0.02 * k, (1, 101)) / 75 for k in range(6)]
    rows += [rows[0], rows[1] + 0.1, np.ones((1, 101)), np.full((1, 101), np.nan)]
    singly = [difference(a, b).p for a, b in combinations(rows, 2)]
    assert _p_values(rows) == [1.0 if np.isnan(p) else p for p in singly]


def test_no_rows_have_no_tiers() -> None:
    assert tiers([]) == []
    assert tiers([np.ones((1, 4))]) == [1]


def test_certain_ranks_have_no_width_and_others_overlap() -> None:
    rng = np.random.default_rng(7)
    hard = rng.normal(0, 0.1, 300)
    rows = [table(rng, mean, 2, 300, hard) for mean in (0.9, 0.7, 0.7, 0.3)]
    found = rank_intervals(rows, lower_is_better=False)
    assert (found[0], found[3]) == ((1, 1), (4, 4))
    assert found[1] == found[2] == (2, 3)
    assert rank_intervals(rows, lower_is_better=True)[0] == (4, 4)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_ranks_count_the_better_rows(lower_is_better: bool) -> None:
    """A bootstrap draw ranks a row one below all rows that are better, compared one by one."""
    rng = np.random.default_rng(15)
    rows = [rng.integers(0, 4, (1, 30)) / 3 for _ in range(12)]
    rows[5] = rows[3]
    weights = np.random.Generator(np.random.Philox(0)).multinomial(30, np.full(30, 1 / 30), size=99)
    ranks = []
    for weight in weights:
        means = [(weight / 30 @ row[0]) * (1 if lower_is_better else -1) for row in rows]
        ranks.append([1 + sum(other < mean - 1e-9 for other in means) for mean in means])
    low, high = np.quantile(ranks, (0.025, 0.975), axis=0, method="nearest")
    assert rank_intervals(rows, lower_is_better, draws=99) == list(zip(low, high, strict=True))


def test_two_thousand_rows_have_ranks_without_two_thousand_squared_numbers() -> None:
    rows = [np.full((1, 3), mean) for mean in np.linspace(1, 0, 2000)]
    tracemalloc.start()
    try:
        found = rank_intervals(rows, lower_is_better=False)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == [(rank, rank) for rank in range(1, 2001)]
    assert most < 200e6  # two numbers of a row and a draw take 32 MB


def test_rank_intervals_are_the_same_every_time() -> None:
    rng = np.random.default_rng(8)
    rows = [table(rng, 0.5, 2, 100) for _ in range(4)]
    assert rank_intervals(rows, False) == rank_intervals(rows, False)


def test_an_outlying_seed_widens_the_ranks() -> None:
    rng = np.random.default_rng(9)
    steady, wild = table(rng, 0.8, 4, 300), table(rng, 0.81, 4, 300, sd_seed=0.2)
    (low, high), _ = rank_intervals([wild, steady], lower_is_better=False)
    assert (low, high) == (1, 2)


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_methods_rarely_get_disjoint_ranks(seeds: int) -> None:
    rng = np.random.default_rng(11)
    apart = 0
    for _ in range(200):
        hard = rng.normal(0, 0.1, 100)
        pair = [table(rng, 0.7, seeds, 100, hard, sd_seed=0.03) for _ in range(2)]
        one, other = rank_intervals(pair, lower_is_better=False)
        apart += one != other
    assert apart / 200 < 0.08


def test_the_detectable_difference_is_found_in_four_of_five_cases() -> None:
    rng = np.random.default_rng(10)
    a, b = table(rng, 0.8, 1, 200), table(rng, 0.8, 1, 200)
    found = detectable([a, b])
    assert found is not None
    sd = (a - b).std(ddof=1)
    power = TTestPower().power(found / sd, nobs=200, alpha=0.05)
    assert power == pytest.approx(0.8, abs=0.005)
    assert detectable([a]) is None
