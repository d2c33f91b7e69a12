"""The verdict of a replay: equal, within tolerance, or different."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from metabench.results.schema import Result, Scores, scored_blocks

Agreement = Literal["equal", "within tolerance", "different"]

# The order of summation differs between machines, so a few queries near a boundary may flip.
_QUERIES = 0.01  # share of queries
_ERROR = 1e-4  # relative, of squared errors: the median over episodes
_ROUNDING = 1e-9  # relative, of the scores of equal outputs
_MEAN_ERROR = 1e-3  # relative, of their mean, which a few ruined episodes move


def agreement(old: Result, new: Result) -> Agreement:
    """Compare the scores of two runs of a cell, on all blocks of episodes that both have.

    - equal: all outputs are equal to the last bit, and so are the scores;
    - within tolerance: the numbers of right answers, compared episode by episode, differ by at
      most 1 % of the queries. Squared errors differ relatively by at most 1e-4 in the median
      over episodes, and their mean by at most 1e-3;
    - different: the scores differ by more, a run has no scores, equal outputs have different
      scores, or the file of a run has changed since it was written.
    """
    pairs = list(zip(scored_blocks(old), scored_blocks(new), strict=False))
    if not pairs or old.altered or new.altered:
        return "different"
    if all(one.outputs_digest == other.outputs_digest for one, other in pairs):
        return "equal" if all(_same(one, other) for one, other in pairs) else "different"
    return "within tolerance" if all(_close(*pair) for pair in pairs) else "different"


def _same(old: Scores, new: Scores) -> bool:
    """Return whether all that is computed from equal outputs is equal up to rounding."""
    return same_scores(_numbers(old), _numbers(new))


def _numbers(scores: Scores) -> npt.NDArray[np.float64]:
    calibration = scores.calibration
    return np.array(
        [
            *scores.per_episode(),
            *(scores.f1 or ()),
            *(() if calibration is None else msgspec.structs.astuple(calibration)),
        ]
    )


def same_scores(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> bool:
    """Return whether scores per episode are equal up to rounding."""
    return old.shape == new.shape and np.allclose(old, new, rtol=_ROUNDING, atol=0)


def _close(old: Scores, new: Scores) -> bool:
    one, other = old.per_episode(), new.per_episode()
    if one.shape != other.shape:
        return False
    if old.correct is not None:
        return float(np.abs(one - other).mean()) <= _QUERIES
    median = float(np.median(np.abs(other - one) / np.maximum(np.abs(one), 1e-12)))
    return median <= _ERROR and abs(other.mean() - one.mean()) <= _MEAN_ERROR * abs(one.mean())
