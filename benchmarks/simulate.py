"""Error rates of metabench's statistics, by simulation: `python -m benchmarks.simulate`.

Scores are drawn with a known mean, and metabench's conclusions are compared with it. The output
is the table of `docs/statistics.md`. `--repeats N` changes how many suites are drawn.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from metabench.statistics.intervals import mean_ci
from metabench.statistics.non_inferiority import LOOKS, judge
from metabench.statistics.paired_tests import tiers

REPEATS = 2000
SEED = 20_261_125
QUERIES = 75
MARGIN = 0.005
EPISODES = 600  # of a look of the gate

Scores = npt.NDArray[np.float64]


class Claim(NamedTuple):
    """One line of the table: a measured rate and the claim about it."""

    what: str
    rate: float
    least: float
    most: float
    repeats: int

    @property
    def holds(self) -> bool:
        """True if the rate is within two standard errors of the claim."""
        below, above = (2 * (p * (1 - p) / self.repeats) ** 0.5 for p in (self.least, self.most))
        return self.least - below <= self.rate <= self.most + above


def crossed(
    rng: np.random.Generator,
    seeds: int,
    episodes: int,
    of_seed: float,
    of_episode: float,
    rest: float,
) -> Scores:
    """Draw scores [S, E] around 0: seeds x episodes with these standard deviations."""
    return (
        of_seed * rng.standard_normal((seeds, 1))
        + of_episode * rng.standard_normal((1, episodes))
        + rest * rng.standard_normal((seeds, episodes))
    )


def accuracies(rng: np.random.Generator, mean: float, episodes: int) -> Scores:
    """Draw accuracies [E] of one learner on 75 queries, in episodes of unequal difficulty."""
    # A beta distribution keeps its mean, where clipping a normal one would move it.
    chances = rng.beta(20 * mean, 20 * (1 - mean), episodes)
    return rng.binomial(QUERIES, chances) / QUERIES


def episode_coverage(repeats: int, mean: float, episodes: int = EPISODES) -> float:
    """Return how often the interval of one learner contains its true accuracy."""
    rng = np.random.default_rng(SEED)
    held = 0
    for _ in range(repeats):
        found = mean_ci(accuracies(rng, mean, episodes))
        held += found.lo <= mean <= found.hi
    return held / repeats


def seed_coverage(repeats: int, seeds: int, of_seed: float) -> float:
    """Return how often the interval of a method contains its mean over seeds and episodes.

    Standard deviations: 10 points between episodes, `of_seed` between seeds, 4 points residual.
    """
    rng = np.random.default_rng(SEED)
    held = 0
    for _ in range(repeats):
        found = mean_ci(crossed(rng, seeds, EPISODES, of_seed, 0.10, 0.04))
        held += found.lo <= 0 <= found.hi
    return held / repeats


def tier_error(repeats: int, seeds: Sequence[int], of_seed: float) -> float:
    """Return how often equally good rows, of so many seeds each, are not all in one tier."""
    rng = np.random.default_rng(SEED)
    apart = 0
    for _ in range(repeats):
        hard = 0.10 * rng.standard_normal((1, EPISODES))
        tables = [
            hard + crossed(rng, n, EPISODES, of_seed if n > 1 else 0.0, 0.0, 0.04) for n in seeds
        ]
        apart += max(tiers(sorted(tables, key=lambda table: -table.mean()))) > 1
    return apart / repeats


def rare_passes(
    repeats: int, loss: float, share: float, episodes: int, margin: float = MARGIN
) -> float:
    """Return how often the gate passes a loss that is concentrated in a few episodes.

    Args:
        repeats: number of gated algorithms.
        loss: the mean loss.
        share: the share of its score that such an episode loses.
        episodes: episodes of a look.
        margin: the margin of the gate.
    """
    rng = np.random.default_rng(SEED)
    passed = 0
    for _ in range(repeats):
        gains = -share * (rng.random((1, LOOKS * episodes)) < loss / share)
        passed += _verdict(gains, episodes, margin) == "pass"
    return passed / repeats


def _verdict(gains: Scores, episodes: int, margin: float) -> str:
    verdict = "inconclusive"
    for look in range(LOOKS):
        verdict = judge(gains[:, : (look + 1) * episodes], margin, look, LOOKS).verdict
        if verdict != "inconclusive":
            break
    return verdict


def gate_verdicts(
    repeats: int, loss: float, seeds: int = 1, of_seed: float = 0.0, sd: float = 0.05
) -> Counter[str]:
    """Count the gate's verdicts on an algorithm that has become worse by `loss`.

    The gate has three looks of 600 episodes each and a margin of 0.5 pp. `sd` is the standard
    deviation of the paired difference of an episode, `of_seed` that of the difference of a seed.
    """
    rng = np.random.default_rng(SEED)
    found: Counter[str] = Counter()
    for _ in range(repeats):
        gains = crossed(rng, seeds, LOOKS * EPISODES, of_seed, 0.0, sd) - loss
        found[_verdict(gains, EPISODES, MARGIN)] += 1
    return found


def claims(repeats: int = REPEATS) -> Iterator[Claim]:
    """Measure every claim."""

    def claim(what: str, rate: float, least: float = 0.0, most: float = 1.0) -> Claim:
        return Claim(what, rate, least, most, repeats)

    for mean in (0.5, 0.8, 0.98):
        rate = episode_coverage(repeats, mean)
        yield claim(f"interval over episodes holds an accuracy of {mean:.0%}", rate, 0.935, 0.965)
    for seeds in (2, 3, 5, 10):
        for of_seed in (0.002, 0.01, 0.05):
            rate = seed_coverage(repeats, seeds, of_seed)
            what = f"interval of {seeds} seeds, {100 * of_seed:g} pp apart, holds the mean"
            yield claim(what, rate, least=0.90 if seeds > 2 else 0.0)
    for rows in ((1, 1), (1,) * 10):
        rate = tier_error(repeats, rows, 0.0)
        yield claim(f"{len(rows)} equal rows of 1 seed: not in one tier", rate, most=0.05)
    for rows, who in (
        ((3,) * 10, "10 equal rows of 3 seeds"),
        ((1,) * 5 + (3,) * 5, "10 equal rows, 5 of 1 seed and 5 of 3"),
        ((2,) * 10, "10 equal rows of 2 seeds"),
    ):
        for of_seed in (0.002, 0.004, 0.01):
            rate = tier_error(repeats, rows, of_seed)
            yield claim(f"{who}, {100 * of_seed:g} pp apart: not in one tier", rate, most=0.05)
    for seeds, of_seed in ((1, 0.0), (3, 0.0), (3, 0.002), (3, 0.005), (3, 0.01)):
        who = "gate, 1 seed" if seeds == 1 else f"gate, 3 seeds, {100 * of_seed:g} pp apart"
        same, limit, twice = (
            gate_verdicts(repeats, loss, seeds, of_seed) for loss in (0.0, MARGIN, 2 * MARGIN)
        )
        yield claim(f"{who}: no loss fails", same["fail"] / repeats, most=0.05)
        yield claim(f"{who}: no loss passes", same["pass"] / repeats)
        yield claim(f"{who}: a loss of the margin passes", limit["pass"] / repeats, most=0.05)
        yield claim(f"{who}: twice the margin passes", twice["pass"] / repeats, most=0.05)
        # What seeds differ by cannot be bought in episodes.
        least = 0.95 if of_seed == 0 else 0.0
        yield claim(f"{who}: twice the margin fails", twice["fail"] / repeats, least)
    for share in (0.3, 0.8):
        for episodes in (100, EPISODES):
            rate = rare_passes(repeats, 2 * MARGIN, share, episodes)
            who = f"gate, looks of {episodes}, a loss in few episodes that lose {share:.0%}"
            yield claim(f"{who}: twice the margin passes", rate, most=0.05)


def table(found: list[Claim]) -> str:
    """Return the claims as a Markdown table."""
    lines = ["| simulated | measured | claimed |", "|:--|--:|:--|"]
    for claim in found:
        if (claim.least, claim.most) == (0.0, 1.0):
            claimed = ""
        elif claim.most == 1.0:
            claimed = f"at least {claim.least:.0%}"
        elif claim.least == 0.0:
            claimed = f"at most {claim.most:.0%}"
        else:
            claimed = f"{claim.least:.1%} to {claim.most:.1%}"
        broken = "" if claim.holds else " **(does not hold)**"
        lines.append(f"| {claim.what} | {claim.rate:.1%}{broken} | {claimed} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return 1 if a claim does not hold."""
    words = sys.argv[1:]
    repeats = int(words[words.index("--repeats") + 1]) if "--repeats" in words else REPEATS
    found = list(claims(repeats))
    print(table(found))
    return 0 if all(claim.holds for claim in found) else 1


if __name__ == "__main__":
    sys.exit(main())
