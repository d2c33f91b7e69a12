"""The accuracy regression test: is an algorithm still as good as a baseline says?

Non-inferiority with three verdicts, in at most three looks at frozen blocks of episodes. Both
sides answer the same episodes, so that everything is paired.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from metabench.analysis.paired import difference
from metabench.analysis.stats import Scores

Verdict = Literal["pass", "fail", "inconclusive", "error"]

ALPHA = 0.05  # one-sided, of all looks together
LOOKS = 3
FEWEST_SEEDS = 3  # of learners that are meta-trained step by step


class Look(msgspec.Struct, frozen=True):
    """What the differences of one look amount to; a gain is positive, whatever the metric."""

    verdict: Verdict
    gain: float  # mean of now less baseline; of errors, the other way round
    lo: float  # the interval of level 1 - 2 alpha / looks
    hi: float


def judge(gains: Scores, margin: float, look: int, looks: int, alpha: float = ALPHA) -> Look:
    """The verdict of one look.

    With the two-sided interval [lo, hi] of level 1 - 2 alpha / looks around the mean gain, which
    covers seeds as that of `paired.difference` does:

    - pass: lo >= -margin. A loss as large as the margin is passed with probability alpha at most,
      all looks together (Bonferroni).
    - fail: hi < -margin; at the last look also hi < 0, a loss that is proven and of which it
      cannot be shown that it stays within the margin.
    - inconclusive: neither, more episodes are needed.

    Args:
        gains: [S, E] score now less that of the baseline, errors with the opposite sign, seed by
            seed on the same episodes; of one seed the interval speaks of this learner only.
        margin: the loss that is put up with, in units of the score.
        look: from 0.
        looks: how many there are at most.
        alpha: one-sided level of all looks together.

    References:
        Wellek (2010), Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd
        edition, chapter 2.
    """
    level = 1 - 2 * alpha / looks
    mean, lo, hi, *_ = difference(gains, np.zeros((1, gains.shape[1])), level)
    verdict: Verdict = "inconclusive"
    if lo >= -margin:
        verdict = "pass"
    elif hi < -margin or (look == looks - 1 and hi < 0):
        verdict = "fail"
    return Look(verdict, mean, lo, hi)
