"""When outputs that should be equal are."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from metabench.harness.deviations import deviations, flipped

# Sums in another order differ in their last digits, and inner loops enlarge that.
_DEVIATION = 1e-3  # median over queries, by the spread of all outputs
_MOST = 0.95  # share of values
_FLIPS = 0.01  # share of queries that get another class, where their outputs moved as well


def difference(one: Tensor, other: Tensor) -> str:
    """How far outputs [..., Q, way] differ, in words; "" if only by rounding."""
    a, b = one.numpy(), other.numpy()
    moved = deviations(a, b, a)
    if one.shape[-1] == 1:  # values have no class to change: all but a few must agree
        largest = float(np.quantile(moved, _MOST))
        return f"values move by {largest:.2g} of their spread" if largest > _DEVIATION else ""
    median, share = float(np.median(moved)), float(flipped(a, b, moved, _DEVIATION).mean())
    if median <= _DEVIATION and share <= _FLIPS:
        return ""
    return (
        f"outputs move by {median:.2g} of their spread (median), {share:.0%} of the queries get "
        "another class"
    )
