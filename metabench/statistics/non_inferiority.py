"""The accuracy regression test: is an algorithm still as good as a baseline says?

Non-inferiority with three verdicts, in at most three looks at frozen blocks of episodes. Both
sides answer the same episodes, so that everything is paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metabench.statistics.intervals import EpisodeScores
from metabench.statistics.paired_tests import difference

Verdict = Literal["pass", "fail", "inconclusive", "error"]

ALPHA = 0.05  # one-sided, of all looks together
LOOKS = 3
FEWEST_SEEDS = 3  # of learners that are meta-trained step by step


@dataclass(frozen=True)
class Look:
    """What the differences of one look amount to; a gain is positive, whatever the metric."""

    verdict: Verdict
    gain: float  # mean of now less baseline; of errors, the other way round
    lo: float  # the interval of level 1 - 2 alpha / looks
    hi: float


def fewest_episodes(margin: float, worst: float, alpha: float = ALPHA) -> float:
    """How many episodes a pass takes at least, however small the differences in them are.

    A loss of twice the margin may sit in few episodes, each with the worst loss there can be. Then
    a share 2 margin / worst of all episodes has it, and n episodes have none of them with
    probability alpha if n = log(1 / alpha) worst / (2 margin): the t interval knows nothing of
    what it has not seen. (With alpha 5 % this is the "rule of three".)

    Args:
        margin: the loss that is put up with.
        worst: the loss of an episode in which all goes wrong, in the same units.
        alpha: how often a loss of twice the margin may go unseen.

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
    """The verdict of one look.

    With the two-sided interval [lo, hi] of level 1 - 2 alpha / looks around the mean gain, which
    covers seeds as that of `paired.difference` does:

    - pass: lo >= -margin, of at least `fewest_episodes`. A loss as large as the margin is passed
      with probability alpha at most, all looks together (Bonferroni).
    - fail: hi < -margin; at the last look also hi < 0, a loss that is proven and of which it
      cannot be shown that it stays within the margin.
    - inconclusive: neither, more episodes are needed.

    Args:
        gains: [S, E] score now less that of the baseline, errors with the opposite sign, seed by
            seed on the same episodes; of one seed the interval speaks of this learner only.
        margin: the loss that is put up with, in units of the score.
        look: from 0.
        looks: how many there are at most.
        worst: the loss of an episode in which all goes wrong.
        alpha: one-sided level of all looks together.

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
