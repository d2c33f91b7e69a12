"""The coverage of the 95 % interval, by simulation with fixed seeds.

python -m pytest tests/statistics/test_coverage.py -s      prints the measured coverage
"""

from __future__ import annotations

import numpy as np
import pytest

from metabench.statistics.intervals import mean_ci

REPEATS = 2000  # a coverage of 0.95 is measured to within 0.015 (three standard errors)


def normal_scores(rng, seeds, episodes, of_seed, of_episode, noise):
    """Return scores [S, E] around 0 with these standard deviations."""
    return (
        of_seed * rng.standard_normal((seeds, 1))
        + of_episode * rng.standard_normal((1, episodes))
        + noise * rng.standard_normal((seeds, episodes))
    )


def coverage(draw, truth, repeats=REPEATS):
    rng = np.random.default_rng(20240)
    inside = 0
    for _ in range(repeats):
        estimate = mean_ci(draw(rng))
        inside += estimate.lo <= truth <= estimate.hi
    return inside / repeats


# seeds, episodes, sd of seeds, of episodes, of the rest; the coverage that is accepted
SETTINGS = {
    "one seed": (1, 100, 0.0, 1.0, 1.0, 0.935, 0.965),
    "one seed, ten episodes": (1, 10, 0.0, 1.0, 1.0, 0.935, 0.965),
    "3 seeds, episodes dominate": (3, 100, 0.0, 3.0, 0.3, 0.935, 0.965),
    "3 seeds, seeds dominate": (3, 100, 1.0, 0.1, 0.1, 0.935, 0.965),
    "3 seeds, both": (3, 100, 0.2, 1.0, 1.0, 0.925, 0.97),
    "5 seeds, episodes dominate": (5, 100, 0.0, 3.0, 0.3, 0.935, 0.965),
    "5 seeds, seeds dominate": (5, 100, 1.0, 0.1, 0.1, 0.935, 0.965),
    "5 seeds, both": (5, 100, 0.2, 1.0, 1.0, 0.935, 0.965),
    "10 seeds, both": (10, 50, 0.3, 1.0, 1.0, 0.935, 0.965),
    # With neither component, truncation at zero can only lengthen the interval.
    "3 seeds, residual only": (3, 100, 0.0, 0.0, 1.0, 0.95, 0.99),
    "5 seeds, residual only": (5, 100, 0.0, 0.0, 1.0, 0.95, 0.99),
    # With only one or two degrees of freedom the interval is known to be too short; the
    # `seeds<5` flag of the leaderboard says so.
    "2 seeds, seeds over noise": (2, 100, 1.0, 1.0, 1.0, 0.86, 0.92),
    "3 seeds, seeds over noise": (3, 100, 1.0, 1.0, 1.0, 0.91, 0.95),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_the_interval_has_the_stated_coverage(name):
    *setting, low, high = SETTINGS[name]
    measured = coverage(lambda rng: normal_scores(rng, *setting), truth=0.0)
    print(f"\n{name:28} {setting}  coverage {measured:.4f}")
    assert low <= measured <= high


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "low"), [(1, 0.935), (3, 0.92), (5, 0.93)])
def test_the_interval_covers_for_bounded_accuracies_too(seeds, low):
    """Scores are correct answers among 75 queries; episodes and seeds differ in difficulty."""

    def draw(rng):
        chance = 0.9 + normal_scores(rng, seeds, 100, 0.01 if seeds > 1 else 0, 0.03, 0.01)
        return rng.binomial(75, np.clip(chance, 0, 1)) / 75

    measured = coverage(draw, truth=0.9)
    print(f"\naccuracies, {seeds} seeds  coverage {measured:.4f}")
    assert low <= measured <= 0.97
