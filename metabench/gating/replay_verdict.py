"""Whether two runs of one cell came out the same."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from metabench.results.schema import Result, Scores, scored_blocks

Agreement = Literal["equal", "within tolerance", "different"]

# Other machines add up in another order: a few queries near a boundary may change sides.
_QUERIES = 0.01  # share of queries
_ERROR = 1e-4  # relative, of squared errors: the median over episodes
_ROUNDING = 1e-9  # relative, of errors that equal outputs have
_MEAN_ERROR = 1e-3  # relative, of their mean: a few that are ruined move it


def agreement(old: Result, new: Result) -> Agreement:
    """How far the scores of two runs of a cell agree, on all blocks of episodes they have.

    - equal: all outputs are, to the last bit, and so are the scores;
    - within tolerance: numbers of right answers differ by at most 1 % of the queries, counted
      episode by episode; squared errors by 1e-4 of themselves, the median over episodes, and
      their mean by 1e-3;
    - different: they do not, or one of the two has no scores, or equal outputs have others.
    """
    pairs = list(zip(scored_blocks(old), scored_blocks(new), strict=False))
    if not pairs:
        return "different"
    if all(one.outputs_digest == other.outputs_digest for one, other in pairs):
        return (
            "equal"
            if all(same_scores(one.per_episode(), other.per_episode()) for one, other in pairs)
            else "different"
        )
    return "within tolerance" if all(_close(*pair) for pair in pairs) else "different"


def same_scores(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> bool:
    """Whether scores per episode are equal, but for rounding."""
    return old.shape == new.shape and np.allclose(old, new, rtol=_ROUNDING, atol=0)


def _close(old: Scores, new: Scores) -> bool:
    one, other = old.per_episode(), new.per_episode()
    if one.shape != other.shape:
        return False
    if old.correct is not None:
        return float(np.abs(one - other).mean()) <= _QUERIES
    median = float(np.median(np.abs(other - one) / np.maximum(np.abs(one), 1e-12)))
    return median <= _ERROR and abs(other.mean() - one.mean()) <= _MEAN_ERROR * abs(one.mean())
