"""A comparison of outputs that should be equal."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from metabench.cell.output_difference import deviations, flipped

# Sums in another order differ in their last digits, and inner loops amplify the difference.
_DEVIATION = 1e-3  # median over queries, relative to the spread of all outputs
_QUANTILE = 0.95  # share of values
_FLIPS = 0.01  # share of queries that change class because their outputs move


def difference(one: Tensor, other: Tensor) -> str:
    """Describe the difference of outputs [..., Q, way]; "" if it is only rounding."""
    a, b = one.double().numpy(), other.double().numpy()  # of any precision
    moved = deviations(a, b, a)
    if one.shape[-1] == 1:  # values have no class: all but a few must agree
        largest = float(np.quantile(moved, _QUANTILE))
        return f"values move by {largest:.2g} of their spread" if largest > _DEVIATION else ""
    median, share = float(np.median(moved)), float(flipped(a, b, moved, _DEVIATION).mean())
    if median <= _DEVIATION and share <= _FLIPS:
        return ""
    return (
        f"outputs move by {median:.2g} of their spread (median), {share:.0%} of the queries "
        "change class"
    )
