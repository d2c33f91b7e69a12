"""The accuracy regression test: non-inferiority of an algorithm to its baseline.

There are three verdicts, and at most three looks, each with one more frozen block of episodes.
Both sides answer the same episodes, so all differences are paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metabench.statistics.intervals import EpisodeScores
from metabench.statistics.paired_tests import difference

Verdict = Literal["pass", "fail", "inconclusive", "error"]

ALPHA = 0.05  # one-sided, for all looks together
LOOKS = 3
FEWEST_SEEDS = 3  # for learners that are meta-trained step by step


@dataclass(frozen=True)
class Look:
    """The result of one look; a gain is an improvement, for every metric."""

    verdict: Verdict
    gain: float  # mean of now minus baseline; for errors, of baseline minus now
    lo: float  # the interval of level 1 - 2 alpha / looks
    hi: float


def fewest_episodes(margin: float, worst: float, alpha: float = ALPHA) -> float:
    """Return the number of episodes that a pass needs, however small their differences are.

    A loss of twice the margin may be concentrated in few episodes, each with the worst possible
    loss. These are a share 2 margin / worst of all episodes, and n episodes contain none of them
    with probability alpha if n = log(1 / alpha) worst / (2 margin). The t interval cannot include
    a loss that was not observed. (With alpha 5 % this is the "rule of three".)

    Args:
        margin: the loss that is allowed.
        worst: the largest possible loss of one episode, in the same units.
        alpha: the probability that a loss of twice the margin is not observed.

    References:
        Hanley & Lippman-Hand (1983), JAMA 249, 1743-1745.
    """
    return math.log(1 / alpha) * worst / (2 * margin) if margin > 0 else math.inf


def judge(
    gains: EpisodeScores,
    margin: float,
    look: int,
    looks: int,
    worst: float = 1.0,
    alpha: float = ALPHA,
) -> Look:
    """Return the verdict of one look.

    [lo, hi] is the two-sided interval of level 1 - 2 alpha / looks around the mean gain. It covers
    seeds in the same way as that of `paired_tests.difference`.

    - pass: lo >= -margin, with at least `fewest_episodes`. A loss as large as the margin passes
      with probability alpha at most, over all looks together (Bonferroni).
    - fail: hi < -margin. At the last look also hi < 0: the loss is proven, and it was not shown
      to be within the margin.
    - inconclusive: neither; more episodes are needed.

    Args:
        gains: [S, E] score now minus score of the baseline, seed by seed on the same episodes;
            errors with the opposite sign. With one seed the interval describes this learner only.
        margin: the loss that is allowed, in units of the score.
        look: the number of this look, from 0.
        looks: the largest number of looks.
        worst: the largest possible loss of one episode.
        alpha: the one-sided level of all looks together.

    References:
        Wellek (2010), Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd
        edition, chapter 2.
    """
    level = 1 - 2 * alpha / looks
    mean, lo, hi, *_ = difference(gains, np.zeros((1, gains.shape[1])), level)
    verdict: Verdict = "inconclusive"
    if lo >= -margin and gains.shape[1] >= fewest_episodes(margin, worst, alpha):
        verdict = "pass"
    elif hi < -margin or (look == looks - 1 and hi < 0):
        verdict = "fail"
    return Look(verdict, mean, lo, hi)
