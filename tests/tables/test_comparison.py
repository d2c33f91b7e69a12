"""Comparisons of stored results: the paired difference and its probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from results_factory import make_result, make_suite
from scipy import stats

from metabench.errors import NothingToRun, UsageError
from metabench.tables.comparison import compare
from metabench.tables.margins import Margin
from metabench.tables.rows import StoredResult

SUITE = make_suite(episodes=6, query=2)  # ten queries


def compared(*results, a="good", b="bad", suite="digits-5w1s", budget=None, margin=0.005, **given):
    cells = [StoredResult(None, result) for result in results]
    return compare(cells, suite, a, b, budget, Margin.parse(str(margin)), **given)


GOOD = make_result("good", suite=SUITE, correct=[9, 8, 9, 7, 8, 9])
BAD = make_result("bad", suite=SUITE, correct=[7, 8, 8, 1, 6, 8])


def test_the_difference_is_paired_by_episode() -> None:
    found = compared(GOOD, BAD)
    known = stats.ttest_rel([0.9, 0.8, 0.9, 0.7, 0.8, 0.9], [0.7, 0.8, 0.8, 0.1, 0.6, 0.8])
    assert found.difference == pytest.approx(50 / 60 - 38 / 60)
    assert found.p == pytest.approx(known.pvalue)
    assert found.ci95 == pytest.approx(tuple(known.confidence_interval()))
    assert (found.episodes, found.seeds_a, found.seeds_b) == (6, 1, 1)


def test_the_three_probabilities_sum_to_one_and_mirror_each_other() -> None:
    found, mirrored = compared(GOOD, BAD), compared(GOOD, BAD, a="bad", b="good")
    assert found.better + found.equivalent + found.worse == pytest.approx(1)
    assert found.better > 0.9
    assert mirrored.worse == pytest.approx(found.better)
    assert compared(GOOD, BAD, margin="99pp").equivalent == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("margin", [0.0, 0.005])
def test_an_algorithm_is_as_good_as_itself(margin: float) -> None:
    found = compared(GOOD, a="good", b="good", margin=margin)
    assert (found.better, found.equivalent, found.worse) == (0, 1, 0)


def test_lower_errors_are_better() -> None:
    suite = make_suite("sinusoid-5s", way=1, metric="mse", episodes=4)
    low = make_result("good", suite=suite, error=[0.1, 0.2, 0.1, 0.3])
    high = make_result("bad", suite=suite, error=[1.1, 1.3, 0.9, 1.2])
    found = compared(low, high, suite="sinusoid-5s")
    assert found.difference < 0
    assert found.better > 0.99


def test_the_episodes_that_differ_most_come_first() -> None:
    first, second, *_ = compared(GOOD, BAD).most_different
    assert (first.episode, first.a, first.b) == (3, 0.7, 0.1)
    assert second.episode == 0


def test_the_newest_result_of_a_seed_counts() -> None:
    older = make_result("good", suite=SUITE, correct=[0] * 6, created="2025-01-01T00:00:00Z")
    assert compared(older, GOOD, BAD).score_a == compared(GOOD, BAD).score_a


def test_each_score_has_its_flags() -> None:
    changed = make_result("good", suite=SUITE, correct=[5] * 6, seed=1, code="other")
    found = compared(GOOD, changed, BAD)
    assert found.flags_a == ["seeds<5", "code differs"]
    assert found.flags_b == []


def test_parameters_are_part_of_the_name() -> None:
    other = make_result("good", suite=SUITE, correct=[5] * 6, chosen={"lr": 0.1})
    assert compared(GOOD, BAD, other, a="good[lr=0.1]").score_a == pytest.approx(0.5)


def test_one_episode_has_a_difference_but_no_interval() -> None:
    suite = make_suite(episodes=1)
    results = (make_result(name, suite=suite, correct=[9]) for name in ("good", "bad"))
    found = compared(*results)
    assert (found.ci95, found.p, found.better) == (None, None, None)


def test_refusals_say_why() -> None:
    with pytest.raises(NothingToRun, match="no scores on nothing"):
        compared(GOOD, BAD, suite="nothing")
    with pytest.raises(NothingToRun, match="no scores on digits-5w1s with budget paper"):
        compared(GOOD, BAD, budget="paper")
    with pytest.raises(UsageError, match="unknown algorithm 'goood': did you mean 'good'"):
        compared(GOOD, BAD, a="goood")
    paper = make_result("bad", suite=SUITE, correct=[1] * 6, budget="paper")
    with pytest.raises(UsageError, match="good was run at smoke and bad at paper: run one of them"):
        compared(GOOD, paper)
    other = make_suite(episodes=6, query=2, manifest="other")
    with pytest.raises(UsageError, match="use different episodes"):
        compared(GOOD, make_result("bad", suite=other, correct=[1] * 6))
    other = make_suite(episodes=6, query=2, pixels="other")
    with pytest.raises(UsageError, match="use different images"):
        compared(GOOD, make_result("bad", suite=other, correct=[1] * 6))


def test_devices_and_training_data_are_not_mixed() -> None:
    elsewhere = make_suite(episodes=6, query=2, train_on="glyphs-5w1s")
    newer = make_result("good", suite=elsewhere, correct=[0] * 6, created="2027-01-01T00:00:00Z")
    assert compared(GOOD, BAD, newer).score_a == compared(GOOD, BAD).score_a
    device = make_result("good", suite=SUITE, correct=[0] * 6, device="cuda")
    with pytest.raises(UsageError, match=r"several kinds of results.*give --device or --train-on"):
        compared(GOOD, BAD, device)
    assert compared(GOOD, BAD, device, device="cpu") == compared(GOOD, BAD)
    other = make_result("bad", suite=elsewhere, correct=[5] * 6)
    found = compared(GOOD, BAD, newer, other, train_on="glyphs-5w1s")
    assert (found.score_a, found.score_b) == (0, 0.5)
    with pytest.raises(NothingToRun, match="no scores on digits-5w1s on device mps; `metabench"):
        compared(GOOD, BAD, device="mps")


def test_rounding_gives_no_negative_probability() -> None:
    """With rounding, 1 - better - worse may be less than 0."""
    suite = make_suite(episodes=100, query=15)
    right = np.random.default_rng(3).integers(20, 70, 100)
    good = make_result("good", suite=suite, correct=right.tolist())
    bad = make_result("bad", suite=suite, correct=(right - 15).tolist())
    found = compared(good, bad)
    assert found.equivalent == 0
    same = make_result("bad", suite=suite, correct=right[::-1].tolist())
    assert str(compared(good, same).difference) == "0.0"
